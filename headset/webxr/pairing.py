"""How a headset proves that its wearer stands before this machine: a PIN, or a ticket in a QR code.

A PIN is worth 10^6 guesses, so it is short-lived and gives few tries; after one is used up the next
one opens later and later. A ticket cannot be guessed, so it is free of that, and goes on working
while somebody guesses PINs.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from streams.clock import now_ns

DIGITS = 6
NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PairingOptions:
    """How long a secret is good for."""

    pin_s: float = 120.0
    """A PIN is valid for so long."""
    tries: int = 5
    """Wrong PINs before there is a new one."""
    ticket_s: float = 600.0
    """A ticket is valid for so long, and once."""
    rests_s: tuple[float, ...] = (0.0, 15.0, 60.0, 300.0)
    """Nobody can try a PIN for so long after the first, second, ... one was used up by wrong
    tries; the last goes on. At five tries in 300 s, guessing finds one in 694 days."""


class WrongPinError(PermissionError):
    """Not the PIN or the ticket. The message is one readable line for the person."""


class RestError(PermissionError):
    """Too many wrong PINs: none is taken for `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many wrong PINs; try again in {seconds:.0f} s")
        self.seconds = seconds


class Pairing:
    """The PIN and the ticket that are valid now. Thread-safe; time is `clock`'s nanoseconds."""

    def __init__(
        self, options: PairingOptions | None = None, clock: Callable[[], int] = now_ns
    ) -> None:
        self.options = options or PairingOptions()
        self._clock = clock
        self._lock = threading.Lock()
        self._used_up = 0
        self._rest_until_ns = 0
        self._pin, self._pin_until_ns, self._left = "", 0, 0
        self._ticket, self._ticket_until_ns = "", 0
        self._renew_pin(0)
        self._renew_ticket()

    @property
    def pin(self) -> str:
        """Six digits: the PIN that is valid now."""
        with self._lock:
            self._age()
            return self._pin

    @property
    def pin_left_s(self) -> float:
        """How long the PIN is still valid, seconds."""
        with self._lock:
            self._age()
            return (self._pin_until_ns - self._clock()) / NS

    @property
    def rest_s(self) -> float:
        """For how long no PIN is taken, seconds; 0 as a rule."""
        with self._lock:
            return max(0, self._rest_until_ns - self._clock()) / NS

    @property
    def ticket(self) -> str:
        """The ticket that is valid now, URL-safe, 256 bits."""
        with self._lock:
            self._age()
            return self._ticket

    def try_pin(self, pin: str) -> None:
        """Return when it is the PIN; it is then used up. Raises WrongPinError, or RestError
        without looking at it."""
        with self._lock:
            self._age()
            now = self._clock()
            if now < self._rest_until_ns:
                raise RestError((self._rest_until_ns - now) / NS)
            if hmac.compare_digest(pin.encode(), self._pin.encode()):
                self._used_up = 0
                self._renew_pin(now)
                return
            self._left -= 1
            if self._left > 0:
                raise WrongPinError(f"wrong PIN; {self._left} tries left")
            rests = self.options.rests_s
            rest = rests[min(self._used_up, len(rests) - 1)] if rests else 0.0
            self._used_up += 1
            self._rest_until_ns = now + round(rest * NS)
            self._renew_pin(self._rest_until_ns)
            raise WrongPinError("wrong PIN; there is a new one now, read it again")

    def try_ticket(self, ticket: str) -> None:
        """Return when it is the ticket; it is then used up. Raises WrongPinError."""
        with self._lock:
            self._age()
            if not hmac.compare_digest(ticket.encode(), self._ticket.encode()):
                raise WrongPinError("this QR code was used, or is too old; type the PIN instead")
            self._renew_ticket()

    def _age(self) -> None:
        now = self._clock()
        if now >= self._pin_until_ns:
            self._renew_pin(now)
        if now >= self._ticket_until_ns:
            self._renew_ticket()

    def _renew_pin(self, from_ns: int) -> None:
        before = self._pin
        while self._pin == before:
            self._pin = f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"
        self._left = self.options.tries
        self._pin_until_ns = max(from_ns, self._clock()) + round(self.options.pin_s * NS)

    def _renew_ticket(self) -> None:
        self._ticket = secrets.token_urlsafe(32)
        self._ticket_until_ns = self._clock() + round(self.options.ticket_s * NS)
