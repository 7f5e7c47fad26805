"""One connection's part in a room: greetings, keys, clocks, messages. Reads no socket and no clock.

meeting = Meeting(code, identity, presence)
meeting.receive(frame, now_ns)     # a relay's frame -> what happened
meeting.tick(now_ns)               # a few times a second: questions, and what was not answered
meeting.take()                     # frames to send

Whoever comes is greeted; from both greetings both derive the keys between them; each hands the
other the key under which it speaks to all. A member counts as there once it has written something
that only it can write. Everything but codes, sound and chunks is asked for or sent again until it
is answered, because a relay may lose anything.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headset.rooms.relay_frame import (
    BULK,
    CODE,
    CONTROL,
    EVERYBODY,
    GREETING,
    JOINED,
    LEFT,
    MOST_MEMBERS,
    SOUND,
    WELCOME,
    Frame,
    FrameError,
    unpack_members,
)
from headset.rooms.room_code import RoomCode
from headset.rooms.room_keys import (
    PAIR_EPOCH,
    Greeting,
    Opener,
    PairKeys,
    ReplayedError,
    RoomKeyError,
    Sealer,
    SenderKey,
    Session,
    epoch_of,
)
from headset.rooms.room_message import (
    Answer,
    Chunk,
    ChunkWish,
    CodePacket,
    KeyGiven,
    KeyPacketWish,
    KeyTaken,
    Presence,
    Question,
    RoomMessage,
    RoomMessageError,
    SoundPacket,
    pack_message,
    unpack_message,
)
from streams.clock import Echo, RemoteClock

AGAIN_NS = 500_000_000
"""After which an unanswered greeting or key is sent again."""
QUESTION_NS, FIRST_QUESTION_NS = 2_000_000_000, 150_000_000
"""How often a member's clock is asked; more often until it is known well."""
FIRST_QUESTIONS, MOST_FIRST_QUESTIONS, WELL_KNOWN_NS = 8, 60, 5_000_000
"""So many times at least, so many at most, and until the error is bounded by that."""
PRESENCE_NS = 1_000_000_000
OLD_KEYS = 2
"""Of a sender's earlier keys so many are kept, for what was under way when it changed."""
MOST_SESSIONS = 4096
"""Session keys that one connection pairs with. Beyond, greetings are refused: only somebody with
the room's code can bring it there."""
OUTGOING = {GREETING: 64, CONTROL: 256, SOUND: 8, CODE: 3, BULK: 64}
"""Frames that wait, in the order in which they go; beyond, the oldest of its kind is dropped."""
PRIVATE = (KeyGiven, KeyTaken, Question, Answer, ChunkWish, Chunk, KeyPacketWish)
"""Messages for one member, under the keys between the two."""


@dataclass(frozen=True, slots=True)
class Came:
    """Somebody is there, and has proved to know the room's code."""

    member: Member


@dataclass(frozen=True, slots=True)
class Left:
    """Somebody is there no more."""

    member: Member


@dataclass(frozen=True, slots=True)
class Heard:
    """A member's message, genuine and new."""

    member: Member
    message: Presence | CodePacket | SoundPacket | ChunkWish | Chunk | KeyPacketWish


Event = Came | Left | Heard


@dataclass(slots=True, eq=False)
class Member:
    """Somebody else in the room, as far as is known."""

    number: int
    """The relay's, for this connection."""
    greeting: Greeting
    keys: PairKeys
    clock: RemoteClock = field(default_factory=RemoteClock)
    presence: Presence | None = None
    there: bool = False
    openers: deque[Opener] = field(default_factory=lambda: deque(maxlen=OLD_KEYS + 1))
    """Under its newest keys, newest last."""
    taken_epoch: int = -1
    """Our newest key that it said to have."""
    given_ns: int = -AGAIN_NS
    asked: int = 0
    asked_ns: int = -QUESTION_NS

    @property
    def identity(self) -> bytes:
        """Its Ed25519 public key, 32 bytes."""
        return self.greeting.identity


class Meeting:
    """From one welcome by a relay to the connection's end. Not shared between threads."""

    def __init__(self, code: RoomCode, identity: Ed25519PrivateKey, presence: Presence) -> None:
        self._session = Session(code, identity)
        self._presence, self._presence_ns = presence, -PRESENCE_NS
        self._strangers: dict[int, int] = {}
        """Numbers in the room without a greeting yet, and when they were last greeted."""
        self._members: dict[int, Member] = {}
        self._pairs: dict[bytes, PairKeys] = {}
        """Of every session key that ever came: pairing twice would use nonces twice."""
        self._key = SenderKey.new()
        self._sealer = Sealer(self._key.key, self._key.epoch)
        self._out: dict[int, deque[Frame]] = {
            kind: deque(maxlen=length) for kind, length in OUTGOING.items()
        }
        self.refused: Counter[str] = Counter()
        """Frames that were left out, by reason: "forged", "replayed", "malformed", "early"."""

    @property
    def members(self) -> list[Member]:
        """Those who are there."""
        return [member for member in self._members.values() if member.there]

    @property
    def presence(self) -> Presence:
        """What others are told of us."""
        return self._presence

    def receive(self, frame: Frame, now_ns: int) -> list[Event]:
        """Take in a relay's frame. What is not a member's is counted in `refused`, never raised."""
        try:
            return self._received(frame, now_ns)
        except ReplayedError:
            self.refused["replayed"] += 1
        except RoomKeyError:
            self.refused["forged"] += 1
        except (RoomMessageError, FrameError):
            self.refused["malformed"] += 1
        return []

    def say(self, message: RoomMessage, to: Member | None = None) -> None:
        """To one member, or to all who are there."""
        kind, plain = message.KIND, pack_message(message)
        if isinstance(message, PRIVATE):
            if to is None:
                raise ValueError(f"Meeting.say: expected a member for {type(message).__name__}")
            self._put(Frame(kind, to.number, to.keys.sealer.seal(kind, plain)))
        elif self._members:
            self._put(Frame(kind, EVERYBODY, self._sealer.seal(kind, plain)))

    def present(self, presence: Presence) -> None:
        """Tell the others something new of us."""
        if presence != self._presence:
            self._presence, self._presence_ns = presence, -PRESENCE_NS

    def tick(self, now_ns: int) -> None:
        """Greet, give keys and ask for the time again where it is due."""
        for number, greeted_ns in self._strangers.items():
            if now_ns - greeted_ns >= AGAIN_NS:
                self._greet(number, now_ns)
        for member in self._members.values():
            if member.taken_epoch != self._key.epoch and now_ns - member.given_ns >= AGAIN_NS:
                if not member.there:
                    # It may never have seen our greeting, without which it cannot read the key.
                    self._put(Frame(GREETING, member.number, self._session.sealed_greeting()))
                self._give_key(member, now_ns)
            if member.there and now_ns - member.asked_ns >= _pause_ns(member, now_ns):
                member.asked, member.asked_ns = member.asked + 1, now_ns
                self.say(Question(now_ns), member)
        if self.members and now_ns - self._presence_ns >= PRESENCE_NS:
            self._presence_ns = now_ns
            self.say(self._presence)

    def take(self) -> Frame | None:
        """The next frame to send: greetings, control, sound, codes, then bulk."""
        for lane in self._out.values():
            if lane:
                return lane.popleft()
        return None

    def _received(self, frame: Frame, now_ns: int) -> list[Event]:
        if frame.kind == WELCOME:
            for number in unpack_members(frame.payload):
                self._greet(number, now_ns)
            return []
        if frame.kind == JOINED:
            if frame.member not in self._members:
                self._greet(frame.member, now_ns)
            return []
        if frame.kind == LEFT:
            return self._left(frame.member, now_ns)
        if frame.kind == GREETING:
            self._greeted(frame, now_ns)
            return []
        return self._opened(frame, now_ns)

    def _greet(self, number: int, now_ns: int) -> None:
        if number not in self._strangers and len(self._strangers) >= MOST_MEMBERS:
            return  # more than a relay lets in: it makes them up
        self._strangers[number] = now_ns
        self._put(Frame(GREETING, number, self._session.sealed_greeting()))

    def _greeted(self, frame: Frame, now_ns: int) -> None:
        greeting = self._session.open_greeting(frame.payload)
        known = self._members.get(frame.member)
        if known is not None:
            if known.greeting.session != greeting.session:
                raise RoomKeyError("greeting: a member changed its key without leaving")
            return
        if any(other.greeting.session == greeting.session for other in self._members.values()):
            raise RoomKeyError("greeting: another member's, sent again")
        keys = self._pairs.get(greeting.session)
        if keys is None:
            if len(self._pairs) >= MOST_SESSIONS:
                raise RoomKeyError("greeting: too many members came and went; join again")
            keys = self._pairs[greeting.session] = self._session.pair(greeting)
        if self._strangers.pop(frame.member, None) is None:
            # It spoke first: without ours it can do nothing.
            self._put(Frame(GREETING, frame.member, self._session.sealed_greeting()))
        self._members[frame.member] = Member(frame.member, greeting, keys)
        self._change_key(now_ns)

    def _left(self, number: int, now_ns: int) -> list[Event]:
        self._strangers.pop(number, None)
        member = self._members.pop(number, None)
        if member is None:
            return []
        self._change_key(now_ns)
        return [Left(member)] if member.there else []

    def _change_key(self, now_ns: int) -> None:
        """Who comes cannot read what was said before, who left not what is said from now on."""
        self._key = self._key.following()
        self._sealer = Sealer(self._key.key, self._key.epoch)
        self._presence_ns = -PRESENCE_NS
        for member in self._members.values():
            self._give_key(member, now_ns)

    def _give_key(self, member: Member, now_ns: int) -> None:
        member.given_ns = now_ns
        self.say(KeyGiven(self._key.epoch, self._key.key), member)

    def _opened(self, frame: Frame, now_ns: int) -> list[Event]:
        member = self._members.get(frame.member)
        if member is None:
            self.refused["early"] += 1  # of nobody who greeted
            return []
        epoch = epoch_of(frame.payload)
        private = epoch == PAIR_EPOCH
        opener = member.keys.opener
        if not private:
            opener = next((one for one in member.openers if one.epoch == epoch), None)
        if opener is None:
            self.refused["early"] += 1  # under a key that did not come yet
            return []
        message = unpack_message(frame.kind, opener.open(frame.kind, frame.payload))
        if isinstance(message, PRIVATE) != private:
            raise RoomMessageError(f"message: {type(message).__name__} is not said that way")
        return self._understood(member, message, now_ns)

    def _understood(self, member: Member, message: RoomMessage, now_ns: int) -> list[Event]:
        events: list[Event] = []
        if not member.there:
            member.there = True
            events.append(Came(member))
        if isinstance(message, KeyGiven):
            if all(opener.epoch != message.epoch for opener in member.openers):
                member.openers.append(Opener(message.key, message.epoch))
            self.say(KeyTaken(message.epoch), member)
        elif isinstance(message, KeyTaken):
            if message.epoch == self._key.epoch:
                member.taken_epoch = message.epoch
                self._presence_ns = -PRESENCE_NS
        elif isinstance(message, Question):
            self.say(Answer(message.sent_ns, now_ns), member)
        elif isinstance(message, Answer):
            if 0 <= message.sent_ns <= now_ns:
                member.clock.add(Echo(message.sent_ns, message.answered_ns, now_ns))
        else:
            if isinstance(message, Presence):
                member.presence = message
            events.append(Heard(member, message))
        return events

    def _put(self, frame: Frame) -> None:
        self._out[frame.kind].append(frame)


def _pause_ns(member: Member, now_ns: int) -> int:
    """Between two questions for a member's time."""
    if member.asked < FIRST_QUESTIONS:
        return FIRST_QUESTION_NS
    clock = member.clock
    known = clock.synchronised and clock.error_bound_ns(now_ns) <= WELL_KNOWN_NS
    return QUESTION_NS if known or member.asked >= MOST_FIRST_QUESTIONS else FIRST_QUESTION_NS


def with_loss(presence: Presence, share: float) -> Presence:
    """The same, with how much of the sound that came was too late or missing (0..1)."""
    return replace(presence, lost=min(255, max(0, round(255 * share))))
