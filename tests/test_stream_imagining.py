"""What pages say of pictures, between the network's thread and the one that draws; and what panels
a slow link is spared."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from apps.command import run
from apps.stream_imagining import WAITING, PagePrompts
from headset.webxr.messages import Message, MessageKind, SectionKind
from headset.webxr.panel_stream import SLOW_PICTURE_NS, PanelStream
from headset.webxr.prompt_messages import PanelChosen, Prompt, PromptAct
from headset.webxr.server_messages import parse_panel
from streams.panel import Panel
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels


def test_of_words_that_are_only_typed_the_newest_count() -> None:
    prompts = PagePrompts()
    for words in ("a", "a c", "a cat"):
        prompts.put(Prompt(words))
    prompts.put(Prompt("a cat", PromptAct.KEPT))
    prompts.put(PanelChosen("shelf 1"))
    prompts.put(Prompt("a do"))
    prompts.put(Prompt("a dog"))
    expected = (
        Prompt("a cat"), Prompt("a cat", PromptAct.KEPT), PanelChosen("shelf 1"), Prompt("a dog")
    )  # fmt: skip
    assert prompts.take() == expected
    assert prompts.take() == ()


def test_a_flood_leaves_the_newest() -> None:
    prompts = PagePrompts()
    for k in range(10_000):
        prompts.put(PanelChosen(f"{k}"))
        prompts.put(Prompt(f"words {k}"))
    said = prompts.take()
    assert len(said) == WAITING
    assert said[-1] == Prompt("words 9999")


def noise(seed: int, name: str = "imagined") -> Panel:
    rgba = np.full((384, 384, 4), 255, np.uint8)
    rgba[..., :3] = np.random.default_rng(seed).integers(0, 256, (384, 384, 3))
    smooth = Image.fromarray(rgba).resize((24, 24)).resize((384, 384))
    return Panel(name, np.asarray(smooth), "world", Rigid(), (0.2, 0.2), "a model")


async def _now(work: Callable[[Panel], bytes], panel: Panel) -> bytes:
    return work(panel)


def test_a_slow_link_gets_small_pictures_and_not_all_of_them() -> None:
    stream = PanelStream(_now)

    def sent(panels: list[Panel], slow: bool, at_ns: int) -> Message | None:
        return asyncio.run(stream.next(ShownPanels(0, tuple(panels)), slow, at_ns))

    def told(panels: list[Panel], slow: bool, at_ns: int) -> Message:
        message = sent(panels, slow, at_ns)
        assert message is not None
        return message

    first, second, third = (noise(seed) for seed in range(3))
    whole = len(told([first], False, 0).need(SectionKind.PNG).data)
    assert sent([first], False, 1) is None
    # The second waits a while, and the third goes in its place.
    assert sent([second], True, SLOW_PICTURE_NS // 2) is None
    message = told([third], True, SLOW_PICTURE_NS)
    data = message.need(SectionKind.WEBP).data
    assert len(data) < whole / 5
    panel, pictured = parse_panel(message)
    assert pictured
    assert panel.generated_by == "a model"
    away = np.abs(panel.rgba[..., :3].astype(int) - third.rgba[..., :3])
    assert away.mean() < 6
    assert Image.open(io.BytesIO(data)).size == (384, 384)
    # Where a panel is goes at once.
    moved = replace(third, anchor_from_panel=Rigid.from_translation((1.0, 0.0, 0.0)))
    message = told([moved], True, SLOW_PICTURE_NS + 1)
    assert message.find(SectionKind.WEBP) is None
    gone = told([], True, SLOW_PICTURE_NS + 2)
    assert gone.kind == MessageKind.PANEL_GONE


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt", "a cat"], "add --imagine"),
        (["--imagine", "--place", "moon"], "--place moon: expected one of beside, hand"),
        (["--imagine", "--shelf", "nowhere"], "expected a folder of pictures"),
    ],
)
def test_options_that_make_no_sense(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(["stream", "--source", "headset", *arguments]) == 2
    assert said in capsys.readouterr().err
