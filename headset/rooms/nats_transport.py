"""Many relays, one room: frames cross an existing NATS broker, still enciphered.

async with await NatsTransport.open("nats://broker:4222") as trunk, Relay(options, trunk): ...

A room is the subject `visavis.room.<room id>`, to which every relay with members in it listens.
NATS Core delivers at most once, which is what live sound and codes want.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

SUBJECT = "visavis.room."
CONNECT_S = 3.0
WAITING_MESSAGES, WAITING_BYTES = 2000, 4 * 1024 * 1024
"""What NATS' client holds for a relay that has no time; what comes beyond it is lost."""
SENDING_BYTES = 1024 * 1024
"""Likewise for a broker that does not take what is published."""


class NatsError(ConnectionError):
    """The broker cannot be reached, or the package is missing; says what to do."""


class NatsTransport:
    """A `relay.Trunk`. Connects again by itself when the broker was away."""

    def __init__(self, client: Client) -> None:
        """Use `open`."""
        self._client, self.closing = client, False
        self._subscriptions: dict[str, Subscription] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self.lost = 0
        """Messages that the broker was too slow for, or not there."""

    @classmethod
    async def open(cls, url: str, log: Callable[[str], None] = lambda _line: None) -> Self:
        """Connect. Raises NatsError."""
        try:
            import nats
            import nats.errors
        except ImportError as error:
            raise NatsError(
                "--nats: needs the nats extra (.venv/bin/pip install 'visavis[nats]')"
            ) from error

        said = ""
        made: list[Self] = []

        async def failed(error: Exception) -> None:
            nonlocal said
            before, said = said, f"broker: {type(error).__name__} {error}".rstrip()
            if said != before:
                log(said)

        async def away() -> None:
            if not made or not made[0].closing:
                log("broker: connection lost, trying again")

        async def back() -> None:
            nonlocal said
            said = ""
            log("broker: connected again")

        try:
            client = await asyncio.wait_for(
                nats.connect(
                    url, name="visavis relay", connect_timeout=2, max_reconnect_attempts=-1,
                    reconnect_time_wait=0.5, pending_size=SENDING_BYTES, error_cb=failed,
                    disconnected_cb=away, reconnected_cb=back, allow_reconnect=True,
                ),
                CONNECT_S,
            )  # fmt: skip
        except (TimeoutError, OSError, ValueError, nats.errors.Error) as error:
            reason = str(error) or type(error).__name__
            raise NatsError(
                f"--nats {_without_password(url)}: cannot be reached ({reason}); is nats-server "
                "running there?"
            ) from error
        made.append(cls(client))
        return made[0]

    async def join(self, room: str, heard: Callable[[bytes], None]) -> None:
        """Hand on what other relays say in that room from now on; our own comes back too."""

        async def came(message: Msg) -> None:
            heard(bytes(message.data))

        self._subscriptions[room] = await self._client.subscribe(
            SUBJECT + room, cb=came, pending_msgs_limit=WAITING_MESSAGES,
            pending_bytes_limit=WAITING_BYTES,
        )  # fmt: skip

    async def leave(self, room: str) -> None:
        """Listen no more."""
        subscription = self._subscriptions.pop(room, None)
        if subscription is not None and not self._client.is_closed:
            await _quietly(subscription.unsubscribe())

    def publish(self, room: str, message: bytes) -> None:
        """Never waits: while the broker is away or slow, messages are lost."""
        if not self._client.is_connected or self._client.pending_data_size > SENDING_BYTES // 2:
            self.lost += 1
            return
        task = asyncio.ensure_future(_quietly(self._client.publish(SUBJECT + room, message)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """May be called twice."""
        self.closing = True
        if not self._client.is_closed:
            await _quietly(self._client.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


async def _quietly(doing: Any) -> None:
    """A broker that goes away meanwhile is told of by its callbacks, and a relay goes on."""
    import nats.errors

    try:
        await doing
    except (nats.errors.Error, ConnectionError):
        pass


def _without_password(url: str) -> str:
    scheme, mark, rest = url.rpartition("://")
    return scheme + mark + rest.rpartition("@")[2]
