"""Prompts that are refused, by the list and by a judge of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from overlay.image_model import final_step
from overlay.prompt_filter import FilteredModel, PromptFilter
from overlay.sticker_model import StickerModel
from overlay.wish import PromptError, Wish


@pytest.mark.parametrize(
    "prompt",
    [
        "a nude man",
        "NUDES on a beach",
        "a núde man",
        "n u d e people",
        "a nud3 man",
        "p0rn",
        "self-harm",
        "a sexy child",
        "children of a sexy kid",
        "ｎｕｄｅ",  # noqa: RUF001
        "a Nazi   salute",
    ],
)
def test_refused(prompt: str) -> None:
    with pytest.raises(PromptError, match="this prompt is refused because of"):
        PromptFilter.read().check(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "a blue cat next to a red car",
        "Scunthorpe and Essex",
        "the denuded hills of Sussex",
        "a child with a balloon",
        "a sexton beetle",
        "a gorgeous pipe and a bath bomb",
        "🐶🐶 on 🚗",
        "a b c d e f g",
    ],
)
def test_not_refused(prompt: str) -> None:
    PromptFilter.read().check(prompt)


def test_lists_and_judges_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("# ours\nclown\npurple + cow # not together\n\n")
    own = PromptFilter.read(tmp_path / "own.txt")
    for refused in ("two clowns", "a cow in a purple hat"):
        with pytest.raises(PromptError):
            own.check(refused)
    own.check("a purple horse and a brown pig")
    with pytest.raises(PromptError, match=r"nowhere\.txt: the list of refused words: No such file"):
        PromptFilter.read(tmp_path / "nowhere.txt")
    (tmp_path / "bad").write_bytes(b"\xff\xfe")
    with pytest.raises(PromptError, match="no UTF-8 text"):
        PromptFilter.read(tmp_path / "bad")

    class Careful:
        def objection(self, prompt: str) -> str | None:
            return "no politics" if "president" in prompt else None

    judged = PromptFilter.read(judges=[Careful()])
    judged.check("a dog")
    with pytest.raises(PromptError, match="this prompt is refused: no politics"):
        judged.check("the president on a horse")


def test_a_filtered_model_never_sees_a_refused_prompt() -> None:
    seen: list[str] = []

    class Watched(StickerModel):
        def steps(self, wish, cancelled):  # pyright: ignore
            seen.append(wish.prompt)
            return super().steps(wish, cancelled)

    model = FilteredModel(Watched(), PromptFilter.read())
    assert (model.name, model.label) == (model.inner.name, model.inner.label)
    assert final_step(model, Wish("a dog", size=(64, 64))).rgba.shape == (64, 64, 4)
    with pytest.raises(PromptError):
        final_step(model, Wish("a nude dog"))
    with pytest.raises(PromptError):
        final_step(model, Wish("a dog", style="nude"))
    assert seen == ["a dog"]
