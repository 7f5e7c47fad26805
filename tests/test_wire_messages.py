"""Messages of the wire: round trips, strictness, and whatever bytes may come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

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
from headset.webxr.messages import (
    HEADER,
    REPEATED,
    SECTIONS_OF,
    Message,
    MessageError,
    MessageKind,
    Section,
    SectionKind,
    pack_code,
    pack_message,
    parse_message,
)
from headset.webxr.prompt_messages import (
    MOST_SAMPLES,
    MOST_WORDS,
    PROMPT_READERS,
    PanelChosen,
    PanelDismissed,
    Pinched,
    Prompt,
    PromptAct,
    Speech,
)
from headset.webxr.sample_coding import (
    FOV_ERROR,
    POSITION_ERROR_M,
    ROTATION_ERROR,
    DeviceSample,
    pack_sample,
    parse_sample,
)
from headset.webxr.server_messages import panel_message, panel_picture, parse_panel
from streams.panel import ANCHORS, Panel
from streams.rigid import Rigid
from streams.view import View

READERS = {
    MessageKind.HELLO: Hello.of,
    MessageKind.DISPLAYED: Displayed.of,
    MessageKind.SAMPLE: parse_sample,
    MessageKind.NEED_KEY: NeedKey.of,
    MessageKind.PANEL_MOVED: PanelMoved.of,
    MessageKind.WISH: Wish.of,
    MessageKind.STATISTICS: PageStatistics.of,
    MessageKind.ECHO: EchoMessage.of,
    **PROMPT_READERS,
}


@st.composite
def messages(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from([k for k in MessageKind if k != MessageKind.CODE]))
    allowed = sorted(SECTIONS_OF[kind])
    kinds = draw(st.lists(st.sampled_from(allowed), max_size=len(allowed), unique=True))
    kinds += draw(
        st.lists(st.sampled_from(sorted(REPEATED & SECTIONS_OF[kind]) or [None]), max_size=3)
    )
    sections = tuple(
        Section(part, draw(st.binary(max_size=40)), draw(st.integers(0, 255)))
        for part in kinds
        if part is not None
    )
    return Message(
        kind, sections, draw(st.integers(0, 2**32 - 1)), draw(st.integers(-(2**63), 2**63 - 1)),
        draw(st.integers(0, 65_535)), draw(st.booleans()),
    )  # fmt: skip


def fields(message: Message) -> tuple[object, ...]:
    sections = tuple((s.kind, s.flags, s.data) for s in message.sections)
    return (
        message.kind, sections, message.frame_id, message.t_ns, message.person, message.key
    )  # fmt: skip


@given(messages())
def test_a_message_comes_back(message: Message) -> None:
    packed = pack_message(message)
    assert len(packed) % 4 == 0
    assert fields(parse_message(packed)) == fields(message)


@given(messages(), st.data())
def test_a_message_cut_off_or_with_more_is_refused(message: Message, data: st.DataObject) -> None:
    packed = pack_message(message)
    with pytest.raises(MessageError):
        parse_message(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(MessageError):
        parse_message(packed + b"\0\0\0\0")


@given(st.binary(min_size=1, max_size=300), st.integers(0, 65_535), st.booleans())
def test_a_code_has_eight_bytes_before_it(packet: bytes, person: int, key: bool) -> None:
    packed = pack_code(person, 77, packet, key)
    assert len(packed) == 8 + len(packet)
    back = parse_message(packed)
    assert fields(back) == fields(
        Message(MessageKind.AVATAR, (Section(SectionKind.CODE, packet),), 77, 0, person, key)
    )
    with pytest.raises(MessageError):
        parse_message(packed[:8])


def test_what_is_reserved_must_be_zero() -> None:
    packed = bytearray(pack_message(Hello(Capability.GEOMETRY, name="x").message()))
    parse_message(bytes(packed))
    # Unknown header flag, reserved header bytes, reserved bytes of a section, padding.
    for at in (1, 20, HEADER.size + 2, len(packed) - 1):
        broken = bytearray(packed)
        broken[at] |= 0x80
        with pytest.raises(MessageError):
            parse_message(bytes(broken))


def test_a_length_that_lies_allocates_nothing() -> None:
    packed = bytearray(pack_message(Wish().message()))
    packed[HEADER.size + 4 : HEADER.size + 8] = b"\xff\xff\xff\xff"
    with pytest.raises(MessageError, match="4294967295 bytes"):
        parse_message(bytes(packed))


def test_one_that_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(MessageError, match="16384"):
        parse_message(bytes(20_000))


def test_sections_where_they_do_not_belong_are_not_packed() -> None:
    with pytest.raises(ValueError, match="no place for OPUS"):
        pack_message(Message(MessageKind.WISH, (Section(SectionKind.OPUS, b""),)))


@given(st.binary(max_size=200))
def test_any_bytes_raise_one_error(data: bytes) -> None:
    try:
        message = parse_message(data)
    except MessageError:
        return
    read(message)


@given(messages(), st.data())
def test_bytes_changed_anywhere_raise_one_error(message: Message, data: st.DataObject) -> None:
    packed = bytearray(pack_message(message))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(packed) - 1))
        packed[at] = data.draw(st.integers(0, 255))
    try:
        changed = parse_message(bytes(packed))
    except MessageError:
        return
    read(changed)


def read(message: Message) -> None:
    """As a session would: nothing but MessageError may come out."""
    reader = READERS.get(message.kind)
    if reader is not None:
        try:
            reader(message)
        except MessageError:
            pass


def test_a_hundred_thousand_broken_messages_raise_one_error() -> None:
    rng = np.random.default_rng(5)
    good = [pack_message(sample_message(rng)), pack_message(Wish().message())]
    good += [pack_message(Hello(Capability(63), name="Quest").message())]
    good += [pack_message(PanelMoved("a", Rigid(), (1.0, 1.0)).message())]
    good += [pack_message(Prompt("a cat \u732b", PromptAct.KEPT).message())]
    good += [pack_message(Speech(np.zeros(3, np.int16), last=True).message())]
    refused = 0
    for k in range(100_000):
        data = bytearray(good[k % len(good)])
        for _ in range(1 + k % 3):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        try:
            read(
                parse_message(
                    bytes(data[: int(rng.integers(len(data) + 1))] if k % 5 == 0 else data)
                )
            )
        except MessageError:
            refused += 1
    assert 20_000 < refused < 100_000


def test_what_a_page_tells_comes_back() -> None:
    told = [
        Hello(Capability.GEOMETRY | Capability.NODES, 512, "Oculus Browser"),
        Displayed(7, 1, 123_456_789, 2.5),
        NeedKey(3, 99),
        Wish(Payload.CODE, 1_000_000),
        PageStatistics(30.0, 41.5, 900.0, 0.25),
        EchoMessage(5),
        EchoMessage(5, 6),
        Prompt("a blue cat"),
        Prompt("", PromptAct.TAKEN),
        Prompt("\u732b" * 1000 + "\n\0", PromptAct.KEPT),
        PanelChosen("shelf 3"),
        PanelDismissed("imagined"),
    ]
    for one in told:
        message = parse_message(pack_message(one.message()))
        assert READERS[message.kind](message) == one


def test_a_pinch_and_speech_come_back() -> None:
    place = Rigid.from_rotvec((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    back = Pinched.of(parse_message(pack_message(Pinched(place).message())))
    assert back.world_from_pinch.angle_to(place) < 1e-6
    assert back.world_from_pinch.xyz == pytest.approx(place.xyz)
    samples = np.array([0, -32768, 32767, 5], np.int16)
    for sent in (Speech(samples), Speech(samples[:0], last=True)):
        heard = Speech.of(parse_message(pack_message(sent.message())))
        np.testing.assert_array_equal(heard.samples, sent.samples)
        assert heard.last == sent.last


def test_words_and_speech_are_bounded() -> None:
    def of(kind: MessageKind, part: SectionKind, data: bytes, flags: int = 0) -> object:
        return READERS[kind](Message(kind, (Section(part, data, flags),)))

    K, S = MessageKind, SectionKind
    of(K.PROMPT, S.WORDS, b"x" * MOST_WORDS)
    of(K.SPEECH, S.PCM, bytes(2 * MOST_SAMPLES))
    for kind, part, data, flags in (
        (K.PROMPT, S.WORDS, b"x" * (MOST_WORDS + 1), 0),
        (K.PROMPT, S.WORDS, b"\xff", 0),
        (K.PROMPT, S.WORDS, b"a cat", 3),
        (K.PANEL_CHOSEN, S.TEXT, b"", 0),
        (K.PANEL_DISMISSED, S.TEXT, b"x" * 257, 0),
        (K.PINCHED, S.PLACE, bytes(36), 0),
        (K.SPEECH, S.PCM, bytes(3), 0),
        (K.SPEECH, S.PCM, bytes(2), 2),
        (K.SPEECH, S.PCM, bytes(2 * MOST_SAMPLES + 2), 0),
    ):
        with pytest.raises(MessageError):
            of(kind, part, data, flags)


def unit(rng: np.random.Generator) -> np.ndarray:
    q = rng.normal(size=4)
    return q / np.linalg.norm(q)


def sample_message(rng: np.random.Generator) -> Message:
    return pack_sample(random_sample(rng))


def random_sample(rng: np.random.Generator) -> DeviceSample:
    def hand() -> np.ndarray:
        joints = rng.uniform(-3, 3, 3) + np.vstack([np.zeros(3), rng.uniform(-0.2, 0.2, (24, 3))])
        return joints.astype(np.float32)

    head = Rigid(unit(rng), rng.uniform(-5, 5, 3))
    fov = np.array([-0.9, 0.8, 0.85, -0.95]) + rng.uniform(-0.05, 0.05, 4)
    views = tuple(
        View(0, eye, Rigid(unit(rng), rng.uniform(-5, 5, 3)), fov, (1680, 1760))
        for eye in ("left", "right")
    )
    return DeviceSample(1_700_000_000_000_000_123, head, hand(), hand(), views)


def test_a_sample_is_small_and_comes_back_within_its_error() -> None:
    rng = np.random.default_rng(8)
    for _ in range(200):
        sample = random_sample(rng)
        packed = pack_message(pack_sample(sample))
        assert len(packed) < 700
        back = parse_sample(parse_message(packed))
        assert back.device_ns == sample.device_ns
        places = [(back.world_from_head, sample.world_from_head)]
        places += [
            (a.world_from_eye, b.world_from_eye)
            for a, b in zip(back.views, sample.views, strict=True)
        ]
        for got, sent in places:
            assert np.abs(got.xyz - sent.xyz).max() <= POSITION_ERROR_M
            assert got.angle_to(sent) <= ROTATION_ERROR
        for got, sent in ((back.left, sample.left), (back.right, sample.right)):
            assert got is not None
            assert sent is not None
            # float32 rounds 3 m to 0.12 micrometres, on either side.
            assert np.abs(got - sent).max() <= 2 * POSITION_ERROR_M
        for got, sent in zip(back.views, sample.views, strict=True):
            assert (got.eye, got.size) == (sent.eye, sent.size)
            assert np.abs(got.fov - sent.fov).max() <= FOV_ERROR


def test_a_sample_without_hands_comes_back() -> None:
    back = parse_sample(pack_sample(DeviceSample(5, Rigid())))
    assert back.left is None
    assert back.right is None
    assert back.at(9).t_ns == 9
    assert back.at(9).device_ns == 5


def test_a_sample_out_of_range_is_not_packed() -> None:
    with pytest.raises(ValueError, match="21 km"):
        pack_sample(DeviceSample(0, Rigid.from_translation((3e4, 0, 0))))
    wide = np.zeros((25, 3), np.float32)
    wide[7] = 1.0
    with pytest.raises(ValueError, match=r"0\.32 m"):
        pack_sample(DeviceSample(0, Rigid(), left=wide))


@given(
    hnp.arrays(np.uint8, (5, 7, 4)),
    st.sampled_from(ANCHORS),
    st.text(min_size=1, max_size=20).filter(lambda text: text.strip() and text.isprintable()),
    st.booleans(),
)
def test_a_panel_comes_back(rgba: np.ndarray, anchor: str, name: str, drawn: bool) -> None:
    place = Rigid.from_rotvec((0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    panel = Panel(name, rgba, anchor, place, (0.5, 0.25), "model 1" if drawn else None)
    message = panel_message(panel, panel_picture(panel) if drawn else None)
    back, pictured = parse_panel(parse_message(pack_message(message)))
    assert pictured is drawn
    assert (back.id, back.anchor, back.generated_by) == (name, anchor, panel.generated_by)
    assert back.size_m == panel.size_m
    assert back.anchor_from_panel.angle_to(place) < 1e-6
    if drawn:
        assert (back.rgba == rgba).all()
