"""The small generator's training: lessons, net, runs, distillation and export, all of it tiny."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import zstandard

from overlay.flow_model import Lesson
from overlay.named_colour import COLOURS as PAINTS
from overlay.sticker_book import StickerBook
from overlay.training.concepts import (
    COLOURS,
    EVERYDAY,
    CaptionWriter,
    Concept,
    Subject,
    everyday,
    is_held_out,
    number_concepts,
)
from overlay.training.distil_generator import Distillation
from overlay.training.export_generator import export, lesson_of
from overlay.training.flow_transformer import TEXT_TOKENS, FlowTransformer, NetShape
from overlay.training.judging import halves, named_colour, nearest, straight
from overlay.training.lessons import ABSENT, Lessons, Texts, beside, draw, make_lessons
from overlay.training.sampling import pictures
from overlay.training.train_generator import Training, TrainingOptions, run

SIDE = 32
SHAPE = NetShape(side=SIDE, patch=8, width=32, depth=2, heads=2, hidden=48)
OPTIONS = TrainingOptions(steps=40, batch=16, warm_up=4, seed=3)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def concepts() -> list[Concept]:
    return everyday(StickerBook.load().stickers)


@pytest.fixture(scope="module")
def few(concepts: list[Concept]) -> list[Concept]:
    wanted = [c for c in concepts if c.name in ("banana", "balloon", "star", "guitar")]
    return [Concept(n, c.emoji, c.name, c.names[:1]) for n, c in enumerate(wanted)]


@pytest.fixture(scope="module")
def lessons(few: list[Concept]) -> Lessons:
    drawings = {s.emoji: s.drawing("fluent") for s in StickerBook.load().stickers}
    return make_lessons(few, {"fluent": drawings}, seed=0, side=SIDE, pairs=20)


def test_every_everyday_thing_has_a_sticker_and_a_word_of_its_own(
    concepts: list[Concept],
) -> None:
    assert len(concepts) == len(EVERYDAY)
    for listed in (concepts, number_concepts(StickerBook.load().stickers)):
        names = [name for concept in listed for name in concept.names]
        assert len(set(names)) == len(names)
    assert set(COLOURS) <= set(PAINTS)


def test_held_out_combinations_are_a_seeded_share_and_in_no_lesson(
    concepts: list[Concept], few: list[Concept], lessons: Lessons
) -> None:
    held = [is_held_out(0, 0.15, c.emoji, colour) for c in concepts for colour in COLOURS]
    assert 0.13 < np.mean(held) < 0.17
    assert held == [is_held_out(0, 0.15, c.emoji, colour) for c in concepts for colour in COLOURS]
    assert held != [is_held_out(1, 0.15, c.emoji, colour) for c in concepts for colour in COLOURS]
    writer = CaptionWriter(few, 0)
    for concept in few:
        for column, colour in enumerate((None, *COLOURS)):
            absent = lessons.places[0, concept.number, column] == ABSENT
            assert absent == writer.held_out(Subject(concept.number, colour))
    columns = (None, *COLOURS)
    for first, colour, last, other, two in lessons.subjects.tolist():
        subjects = [Subject(first, columns[colour]), Subject(last, columns[other])]
        assert not writer.held_out(*subjects[: 1 + two])
    asked = writer.pairs(20, np.random.default_rng(0), held_out=True)
    assert all(writer.held_out(*caption.subjects) for caption in asked)


def test_captions_say_what_is_in_the_picture(few: list[Concept]) -> None:
    writer = CaptionWriter(few, 0)
    number = {concept.name: concept.number for concept in few}
    singles = {caption.text: caption.subjects for caption in writer.singles()}
    assert singles["an orange balloon"] == (Subject(number["balloon"], "orange"),)
    assert singles["star"] == (Subject(number["star"], None),)
    for caption in writer.pairs(30, np.random.default_rng(1), held_out=False):
        words = caption.text.split()
        at = [words.index(few[subject.concept].name) for subject in caption.subjects]
        assert at[0] < at[1]


def test_a_batch_holds_the_drawings_of_its_captions(few: list[Concept], lessons: Lessons) -> None:
    """Against the slow way: each picture drawn for itself and put together by hand."""
    stickers = {s.emoji: s.drawing("fluent") for s in StickerBook.load().stickers}
    columns = (None, *COLOURS)

    def slow(subjects: list[Subject]) -> np.ndarray:
        drawn = [draw(stickers[few[s.concept].emoji], s.colour, SIDE) for s in subjects]
        if len(drawn) == 1:
            return drawn[0] / 127.5 - 1.0
        whole = np.zeros((4, SIDE, SIDE))
        for place, one in enumerate(drawn):
            half = one.reshape(4, SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4))
            left = place * SIDE // 2
            whole[:, SIDE // 4 : SIDE // 4 + SIDE // 2, left : left + SIDE // 2] = half
        return whole / 127.5 - 1.0

    batch = lessons.batch(24, torch.Generator().manual_seed(5))
    seen = set()
    for row in range(24):
        same = (lessons.texts.words.float() == batch.words[row]).all(dim=2).all(dim=1)
        first, colour, last, other, two = lessons.subjects[int(same.nonzero()[0, 0])].tolist()
        subjects = [Subject(first, columns[colour]), Subject(last, columns[other])][: 1 + two]
        np.testing.assert_allclose(batch.pictures[row].numpy(), slow(subjects), atol=1e-5)
        seen.add(two)
    assert seen == {0, 1}


def test_patches_are_cut_and_joined_and_start_as_the_best_linear_code(lessons: Lessons) -> None:
    net = FlowTransformer(SHAPE)
    some = lessons.pictures.float() / 127.5 - 1.0
    assert torch.equal(net.joined(net.cut(some)), some)
    kept = net.start_from_patches(some)
    rows = net.cut(some).flatten(0, 1)
    values = np.linalg.svd((rows - rows.mean(dim=0)).numpy(), compute_uv=False) ** 2
    assert kept == pytest.approx(values[: SHAPE.width].sum() / values.sum(), abs=1e-4)


def test_training_learns_words_and_the_distilled_net_makes_its_picture_in_four_steps(
    lessons: Lessons, tmp_path: Path
) -> None:
    training = Training(lessons, SHAPE, OPTIONS, CPU)
    errors = [training.run_step(step / OPTIONS.steps) for step in range(OPTIONS.steps)]
    assert np.mean(errors[-8:]) < 0.5 * np.mean(errors[:4])
    work = Distillation(lessons, training.average, OPTIONS, CPU, taught=0.3)
    before = copy.deepcopy(work.net.state_dict())
    taught = copy.deepcopy(work.teacher.state_dict())
    for step in range(4):
        assert np.isfinite(work.run_step(step / 40))
    assert any(not torch.equal(value, before[k]) for k, value in work.net.state_dict().items())
    assert all(torch.equal(v, taught[k]) for k, v in work.teacher.state_dict().items())
    batch = lessons.batch(32, torch.Generator().manual_seed(9))
    noise = torch.randn(batch.pictures.shape, generator=torch.Generator().manual_seed(1))
    texts = Texts(batch.words, batch.sentence)
    *_, made = pictures(training.average, texts, batch.style, noise)
    others = Texts(batch.words.roll(1, 0), batch.sentence.roll(1, 0))
    *_, wrong = pictures(training.average, others, batch.style, noise)
    right = (made - batch.pictures).square().mean()
    assert right < 0.9 * (wrong - batch.pictures).square().mean()


def test_the_same_seed_gives_the_same_weights_also_after_a_stop(
    lessons: Lessons, tmp_path: Path
) -> None:
    options = TrainingOptions(steps=6, batch=8, warm_up=2, seed=11)

    def trained(options: TrainingOptions, stops: bool) -> dict[str, torch.Tensor]:
        path = tmp_path / f"{options.seed}{stops}.pt"
        if stops:
            begun = Training(lessons, SHAPE, options, CPU)
            for step in range(3):
                begun.run_step(step / options.steps)
            torch.save(begun.state(), path)
        training = Training(lessons, SHAPE, options, CPU)
        run(training, path, minutes=None)
        assert training.step == 6
        assert torch.load(path, weights_only=True)["step"] == 6
        return training.average.state_dict()

    whole, stopped = trained(options, False), trained(options, True)
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    other = trained(TrainingOptions(steps=6, batch=8, warm_up=2, seed=12), False)
    assert not torch.equal(whole["patch_in.weight"], other["patch_in.weight"])


@pytest.mark.gpu
def test_a_gpu_trains_and_distils_and_goes_on_from_a_checkpoint(
    lessons: Lessons, tmp_path: Path
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    cuda = torch.device("cuda")
    training = Training(lessons, SHAPE, OPTIONS, cuda)
    errors = [training.run_step(step / OPTIONS.steps) for step in range(OPTIONS.steps - 2)]
    assert np.mean(errors[-8:]) < 0.5 * np.mean(errors[:4])
    torch.save(training.state(), tmp_path / "half.pt")
    again = Training(lessons, SHAPE, OPTIONS, cuda)
    run(again, tmp_path / "half.pt", minutes=None)
    assert again.step == OPTIONS.steps
    work = Distillation(lessons, again.average, OPTIONS, cuda, taught=0.3)
    assert np.isfinite(work.run_step(0.5))


def test_the_exported_file_does_what_the_net_does(few: list[Concept], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = FlowTransformer(NetShape(side=SIDE, patch=8, width=64, depth=2, heads=2, hidden=96))
    rng = np.random.default_rng(0)
    feed = {
        "state": rng.standard_normal((1, 4, SIDE, SIDE)).astype(np.float32),
        "time": np.array([0.25], np.float32),
        "words": rng.standard_normal((1, TEXT_TOKENS, 384)).astype(np.float32),
        "sentence": rng.standard_normal((1, 384)).astype(np.float32),
    }
    with torch.no_grad():
        wanted = net(*map(torch.from_numpy, feed.values()), torch.zeros(1, dtype=torch.int64))
    found, sizes = {}, {}
    for int8 in (False, True):
        path = tmp_path / f"{int8}.onnx.zst"
        export(net, 0, lesson_of(few, StickerBook.load().stickers, "fluent", SIDE), path, int8)
        sizes[int8] = path.stat().st_size
        data = zstandard.ZstdDecompressor().decompress(path.read_bytes())
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        found[int8] = session.run(["clean"], feed)[0]
        lesson = Lesson.read(session.get_modelmeta().custom_metadata_map["lesson"])
        assert lesson.names["🎈"] == "balloon"
        assert lesson.times == (0.0, 0.25, 0.5, 0.75)
    np.testing.assert_allclose(found[False], wanted.numpy(), atol=2e-5)
    error = np.abs(found[True] - found[False]).mean() / np.abs(found[False]).mean()
    assert 0.0 < error < 0.05
    assert sizes[True] < 0.4 * sizes[False]


def test_judges_tell_colours_halves_and_copies_apart(lessons: Lessons) -> None:
    stickers = {s.emoji: s.drawing("fluent") for s in StickerBook.load().stickers}
    for colour in COLOURS:
        painted = torch.from_numpy(draw(stickers["🎈"], colour, SIDE)).float() / 127.5 - 1.0
        assert named_colour(straight(painted[None])[0]) == colour
    left, right = lessons.pictures[:1].float(), lessons.pictures[-1:].float()
    both = halves(beside(left, right) / 127.5 - 1.0)
    for half, whole in zip(both, (left, right), strict=True):
        assert (half - (whole / 127.5 - 1.0)).abs().mean() < 0.12
    copies = lessons.pictures[:2].float() / 127.5 - 1.0
    assert nearest(copies, lessons.pictures) == pytest.approx([0.0, 0.0], abs=2e-3)
    assert (nearest(-copies, lessons.pictures) > 0.2).all()
