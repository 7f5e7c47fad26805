"""One connected page: what it is sent, and what becomes of what it says."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

from headset.webxr.client_messages import (
    Capability,
    Displayed,
    EchoMessage,
    Hello,
    NeedKey,
    PageStatistics,
    PanelMoved,
    Payload,
    Wish,
)
from headset.webxr.datagram_lane import DatagramLaneError, DatagramLanes, Lane
from headset.webxr.flow_control import FlowControl, FlowOptions
from headset.webxr.link import Link, LinkClosedError
from headset.webxr.messages import (
    VERSION,
    Message,
    MessageError,
    MessageKind,
    Section,
    SectionKind,
    code_tells_time,
    pack_code,
    pack_message,
    parse_message,
)
from headset.webxr.panel_stream import PanelStream
from headset.webxr.person_stream import PersonMaking, PersonStream
from headset.webxr.prompt_messages import PROMPT_READERS, Prompt, PromptMessage
from headset.webxr.rate_limits import TokenBucket
from headset.webxr.sample_coding import parse_sample
from headset.webxr.scene_blobs import SceneBlobs
from headset.webxr.server_messages import (
    NOTHING,
    Allowed,
    lane_message,
    scene,
    welcome,
)
from headset.webxr.shown_people import SOUND_KEPT, ShownPeople, ShownPerson
from streams.clock import Echo, RemoteClock, now_ns
from streams.headset_sample import HeadsetSample

T = TypeVar("T")
log = logging.getLogger(__name__)
MOST_FRAME_ID = 2**32 - 1


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Times of one page's protocol."""

    hello_s: float = 5.0
    """A page must introduce itself by then."""
    look_s: float = 0.1
    """So often overdue frames are looked for when nothing else happens."""
    echo_s: float = 1.0
    first_echoes: int = 5
    """The clock is asked these many times at once."""
    video_bits_s: int = 10_000_000
    """Of the server's own pictures."""
    largest_future_ns: int = 1_000_000_000
    """A sample that claims to be further from now is dropped."""
    prompts_s: float = 60.0
    """Of words, taps and pieces of speech so many a second are taken; a page says half as many."""
    takes: Allowed = NOTHING
    """Of the page that controls, besides its samples."""
    flow: FlowOptions = field(default_factory=FlowOptions)


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """How a page is doing."""

    name: str
    controls: bool
    payload: Payload | None
    """Of the host's avatar."""
    in_flight: int
    texture_size: int
    texture_bits_s: int
    frames_sent: int
    frames_displayed: int
    bytes_sent: int
    delay_ns: int | None
    """From sending to the acknowledgement of the last frame displayed."""
    clock_offset_ns: int | None
    clock_bound_ns: int | None
    lane: bool
    """Whether samples and codes go as datagrams."""
    page: PageStatistics | None


class ClientSession:
    """Runs in the network's loop; encodes in the executor."""

    def __init__(
        self,
        number: int,
        link: Link,
        shown: ShownPeople,
        blobs: SceneBlobs,
        executor: Executor,
        options: SessionOptions,
    ) -> None:
        self.number, self.link, self.options = number, link, options
        self._shown, self._blobs, self._executor = shown, blobs, executor
        self.on_sample: Callable[[str, HeadsetSample], None] = lambda _name, _sample: None
        self.on_panel_moved: Callable[[PanelMoved], None] = lambda _moved: None
        self.on_code_key: Callable[[int], None] = lambda _person: None
        self.on_prompt: Callable[[PromptMessage], None] = lambda _said: None
        self._prompts = TokenBucket(options.prompts_s, 2 * options.prompts_s)
        self.lanes: DatagramLanes | None = None
        self._lane: Lane | None = None
        self._controls: Callable[[ClientSession], bool] = lambda _session: True
        self._hello = Hello(Capability(0))
        self._wish = Wish()
        self._clock = RemoteClock()
        self._page: PageStatistics | None = None
        self._streams: dict[int, PersonStream] = {}
        self._panels = PanelStream(self._in_executor)
        self._waiting: deque[Message] = deque()
        self._sound: deque[Message] = deque(maxlen=SOUND_KEPT)
        self._wake = asyncio.Event()
        self._woken = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._frame_id = 0
        self._sample_ns = -(2**62)
        self._sent = self._displayed = self._bytes = 0
        self._delay_ns: int | None = None

    async def run(self, controls: Callable[[ClientSession], bool]) -> None:
        """Until the page is gone. Raises MessageError when it breaks the wire format."""
        self._controls, self._loop = controls, asyncio.get_running_loop()
        end_listening = self._shown.listen(self._changed, self._heard)
        tasks: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.timeout(self.options.hello_s):
                first = await self.link.receive()
            if first is None:
                return
            self._hello = Hello.of(parse_message(first))
            self.tell_control()
            await self._offer_lane()
            tasks = {
                asyncio.create_task(part)
                for part in (self._hear_out(), self._send_on(), self._ask_on())
            }
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except TimeoutError:
            raise MessageError(f"expected a hello within {self.options.hello_s:g} s") from None
        except LinkClosedError:
            return
        finally:
            end_listening()
            if self._lane is not None:
                self._lane.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for stream in self._streams.values():
                stream.close()

    def tell_control(self) -> None:
        """Tell the page whether it controls. In the network's loop."""
        takes = Allowed.CONTROL | self.options.takes if self._controls(self) else NOTHING
        self._say(welcome(takes, self.number, VERSION))

    def tell_words(self, words: str) -> None:
        """Tell the page what the prompt is, where it came in another way. Any thread."""
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._say, Prompt(words).message())
            except RuntimeError:
                return  # the network has stopped

    @property
    def wants_pictures(self) -> bool:
        """Whether the server must draw for this page: it asks for that, or can do nothing else.
        Any thread."""
        can = self._hello.can
        alone = not can & (Capability.GEOMETRY | Capability.CODE)
        return Capability.VIDEO in can and (alone or self._wish.payload is Payload.VIDEO)

    def statistics(self) -> ClientStatistics:
        """Any thread."""
        stream = self._streams.get(0)
        now, known = now_ns(), self._clock.synchronised
        return ClientStatistics(
            self.link.name,
            self._controls(self) if self._loop else False,
            stream.payload if stream else None,
            stream.flow.in_flight if stream else 0,
            stream.flow.step.size if stream else 0,
            stream.flow.step.bits_s if stream else 0,
            self._sent,
            self._displayed,
            self._bytes,
            self._delay_ns,
            self._clock.offset_ns(now) if known else None,
            self._clock.error_bound_ns(now) if known else None,
            self._lane is not None and self._lane.is_open,
            self._page,
        )

    async def _offer_lane(self) -> None:
        if self.lanes is None:
            return
        try:
            self._lane, offer = await self.lanes.offer(self._take_datagram)
        except DatagramLaneError as error:
            log.warning("%s", error)
            return
        self._say(lane_message(offer))

    # What the page says.

    async def _hear_out(self) -> None:
        while (data := await self.link.receive()) is not None:
            message = parse_message(data)
            self._take(message, now_ns())

    def _take_datagram(self, data: bytes) -> None:
        try:
            message = parse_message(data)
            if message.kind != MessageKind.SAMPLE:
                raise MessageError(f"expected samples on the lane, got {message.kind.name}")
            self._take(message, now_ns())
        except MessageError as error:
            log.warning("%s: lane closed: %s", self.link.name, error)
            if self._lane is not None:
                self._lane.close()

    def _take(self, message: Message, at_ns: int) -> None:
        kind = message.kind
        if kind == MessageKind.SAMPLE:
            self._take_sample(message, at_ns)
        elif kind == MessageKind.DISPLAYED:
            shown = Displayed.of(message)
            stream = self._streams.get(shown.person)
            delay = stream.flow.displayed(shown.frame_id, at_ns) if stream else None
            if delay is not None:
                self._displayed, self._delay_ns = self._displayed + 1, delay
            self._wake.set()
        elif kind == MessageKind.ECHO:
            self._take_echo(EchoMessage.of(message), at_ns)
        elif kind == MessageKind.NEED_KEY:
            need = NeedKey.of(message)
            stream = self._streams.get(need.person)
            if stream:
                stream.need_key(need.received)
            self._wake.set()
        elif kind == MessageKind.PANEL_MOVED:
            moved = PanelMoved.of(message)
            if self._controls(self):
                self.on_panel_moved(moved)
        elif kind == MessageKind.WISH:
            self._wish = Wish.of(message)
            self._wake.set()
        elif kind == MessageKind.STATISTICS:
            self._page = PageStatistics.of(message)
        elif kind in PROMPT_READERS:
            said = PROMPT_READERS[kind](message)
            if self._controls(self) and self._prompts.take():
                self.on_prompt(said)
        else:
            raise MessageError(f"expected a message of a page, got {kind.name}")

    def _take_sample(self, message: Message, at_ns: int) -> None:
        sample = parse_sample(message)
        if not (self._clock.synchronised and self._controls(self)):
            return
        t_ns = self._clock.local_from_remote(sample.device_ns)
        # Also a device's clock may be set, and then nothing may go back in time.
        if abs(t_ns - at_ns) > self.options.largest_future_ns or t_ns <= self._sample_ns:
            return
        self._sample_ns = t_ns
        self.on_sample(self.link.name, sample.at(t_ns))

    def _take_echo(self, echo: EchoMessage, at_ns: int) -> None:
        if echo.answered_ns is None:
            self._say(EchoMessage(echo.asked_ns, at_ns).message())
        elif at_ns - 60_000_000_000 < echo.asked_ns <= at_ns:
            self._clock.add(Echo(echo.asked_ns, echo.answered_ns, at_ns))
            for stream in self._streams.values():
                stream.flow.round_trip(at_ns - echo.asked_ns, at_ns)

    # What the page is sent.

    def _changed(self) -> None:
        loop = self._loop
        if loop is not None and not self._woken:
            self._woken = True
            try:
                loop.call_soon_threadsafe(self._wake_up)
            except RuntimeError:
                return  # the network has stopped

    def _wake_up(self) -> None:
        self._woken = False
        self._wake.set()

    def _heard(self, packet: bytes, t_ns: int, person: int) -> None:
        part = Section(SectionKind.OPUS, packet)
        self._sound.append(Message(MessageKind.AUDIO, (part,), t_ns=t_ns, person=person))
        self._changed()

    def _say(self, message: Message) -> None:
        self._waiting.append(message)
        self._wake.set()

    async def _ask_on(self) -> None:
        for k in range(1 << 62):
            self._say(EchoMessage(now_ns()).message())
            early = k < self.options.first_echoes
            await asyncio.sleep(0.05 if early else self.options.echo_s)

    async def _send_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self.options.look_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            busy = True
            while busy:
                await self._send_waiting()
                busy = await self._send_panel()
                for person, shown in self._shown.people().items():
                    await self._send_waiting()
                    busy = await self._send_person(person, shown) or busy
            await self._send_departures()

    async def _send(self, message: Message) -> None:
        data = pack_message(message)
        self._bytes += len(data)
        await self.link.send(data)

    async def _send_waiting(self) -> None:
        while self._waiting or self._sound:
            queue = self._waiting or self._sound
            message = queue.popleft()
            if message.kind == MessageKind.ECHO and EchoMessage.of(message).answered_ns is None:
                message = EchoMessage(now_ns()).message()  # the time it leaves
            await self._send(message)

    async def _send_panel(self) -> bool:
        """One of them, if there is something new."""
        stream = self._streams.get(0)
        slow = stream is not None and stream.payload is Payload.CODE
        message = await self._panels.next(self._shown.panels(), slow, now_ns())
        if message is not None:
            await self._send(message)
        return message is not None

    async def _send_departures(self) -> None:
        people = self._shown.people()
        for person in [known for known in self._streams if known not in people]:
            self._streams.pop(person).close()
            await self._send(scene(person, None, None))

    async def _send_person(self, person: int, shown: ShownPerson) -> bool:
        """One frame, if there is a new one and room for it."""
        stream = self._streams.get(person)
        if stream is None:
            making = PersonMaking(self._blobs, self._executor, self.options.video_bits_s)
            flow = FlowControl(self.options.flow)
            stream = self._streams[person] = PersonStream(person, self._hello, flow, making)
            stream.on_code_key = self.on_code_key
            stream.name = self.link.name
        messages = await stream.next(shown, self._wish.payload, self._next_id, now_ns())
        for message in messages:
            if message.kind == MessageKind.SCENE:
                await self._send(message)
            else:
                await self._send_frame(stream, message)
        return bool(messages)

    async def _send_frame(self, stream: PersonStream, message: Message) -> None:
        code = message.find(SectionKind.CODE)
        alone = code is not None and len(message.sections) == 1
        if code is not None and alone and code_tells_time(code.data, message.t_ns):
            data = pack_code(message.person, message.frame_id, code.data, message.key)
        else:
            data = pack_message(message)
        self._sent += 1
        self._bytes += len(data)
        # Of codes any may be lost, but for the one that begins.
        lossy = stream.payload is Payload.CODE and not message.key
        if lossy and self._lane is not None and self._lane.send(data):
            stream.flow.sent(message.frame_id, now_ns(), lossy=True)
            return
        stream.flow.sent(message.frame_id, now_ns(), message.key)
        await self.link.send(data)

    def _next_id(self) -> int:
        self._frame_id = self._frame_id % MOST_FRAME_ID + 1
        return self._frame_id

    async def _in_executor(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *args)
