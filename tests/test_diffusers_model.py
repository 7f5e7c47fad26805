"""Pipelines of `diffusers`: a tiny one with random weights, made here, opened as any other."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
diffusers = pytest.importorskip("diffusers", reason="the extra diffusers is not installed")
transformers = pytest.importorskip("transformers", reason="the extra diffusers is not installed")
torch = pytest.importorskip("torch")

from apps.command import run  # noqa: E402
from apps.imagining import imagining  # noqa: E402
from apps.preview_options import PreviewOptions  # noqa: E402
from apps.undrawn import draw_nothing  # noqa: E402
from overlay.board import PanelBoard  # noqa: E402
from overlay.diffusers_model import DiffusersModel, DiffusersOptions  # noqa: E402
from overlay.following_model import ENDLESS, FollowingModel, middle_of  # noqa: E402
from overlay.generation_event import GenerationCancelled, GenerationFailed, PictureUpdate  # noqa: E402
from overlay.image_model import ModelError, final_step  # noqa: E402
from overlay.live_generation import LiveGeneration, LiveOptions  # noqa: E402
from overlay.model_licence import licence_of  # noqa: E402
from overlay.similar_frames import SimilarFrames  # noqa: E402
from overlay.stream_batch import StreamBatch, StreamBatchOptions  # noqa: E402
from overlay.wish import Wish  # noqa: E402
from streams.camera import Camera  # noqa: E402
from streams.frame import Frame  # noqa: E402
from streams.mark import Mark  # noqa: E402
from streams.mesh_texture import MeshTexture  # noqa: E402
from streams.topology import Topology  # noqa: E402
from streams.view import View  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of the shape of SD-Turbo with a thousandth of its weights."""
    root = tmp_path_factory.mktemp("tiny")
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    (root / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (root / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(root / "vocab.json"), str(root / "merges.txt"), model_max_length=77
    )
    torch.manual_seed(0)
    text = transformers.CLIPTextConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=len(pieces) - 2,
        eos_token_id=len(pieces) - 1,
    )
    net = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=8,
    )
    coder = diffusers.AutoencoderKL(
        block_out_channels=(16, 16, 32, 32),
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        norm_num_groups=8,
        layers_per_block=1,
        sample_size=64,
    )
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="trailing",
        prediction_type="epsilon",
        steps_offset=1,
    )
    pipe = diffusers.StableDiffusionPipeline(
        vae=coder,
        text_encoder=transformers.CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=net,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(root / "tiny")
    (root / "tiny/README.md").write_text("---\nlicense: apache-2.0\ntags: [tiny]\n---\nA test.\n")
    return root / "tiny"


def options(folder: Path, **more: Any) -> DiffusersOptions:
    return DiffusersOptions(
        str(folder), **{"steps": 2, "local_only": True, "device": "cpu", **more}
    )


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[DiffusersModel]:
    opened = DiffusersModel(options(folder))
    yield opened
    opened.close()


def test_one_step_comes_first_then_all(model: DiffusersModel) -> None:
    steps = list(model.steps(Wish("a red apple", size=(64, 72)), lambda: False))
    assert [(step.step, step.steps) for step in steps] == [(1, 2), (2, 2)]
    assert all(step.rgba.shape == (72, 64, 4) for step in steps)
    assert (steps[0].rgba != steps[1].rgba).any()
    assert (model.name, model.label, model.licence) == ("tiny, 2 steps", "tiny", "apache-2.0")
    assert model.vram_bytes == 0


def test_the_seed_decides_and_words_only_change_the_picture(model: DiffusersModel) -> None:
    def made(prompt: str, seed: int) -> np.ndarray:
        return final_step(model, Wish(prompt, seed=seed, size=(64, 64))).rgba.astype(int)

    one = made("a red apple", 1)
    np.testing.assert_array_equal(one, made("a red apple", 1))
    words = np.abs(made("a blue car", 1) - one).mean()
    noise = np.abs(made("a red apple", 2) - one).mean()
    assert 0 < words < 0.5 * noise


def test_a_size_that_eight_does_not_divide(model: DiffusersModel) -> None:
    assert final_step(model, Wish("a cat", size=(70, 67))).rgba.shape == (67, 70, 4)


def test_a_picture_can_be_followed(model: DiffusersModel) -> None:
    grey = np.full((50, 80, 3), 90, np.uint8)
    step = final_step(model, Wish("blue", size=(64, 64), reference=grey))
    assert step.rgba.shape == (64, 64, 4)
    other = final_step(model, Wish("blue", size=(64, 64), reference=grey + np.uint8(100)))
    assert (step.rgba != other.rgba).any()


def test_a_newer_wish_stops_it_between_two_steps(folder: Path) -> None:
    model = DiffusersModel(options(folder, steps=60))
    ran: list[int] = []
    net = model._text.unet
    net.register_forward_hook(lambda *_: ran.append(1))

    def cancelled() -> bool:
        return len(ran) >= 5

    # One step for the first picture, then four of the sixty.
    assert len(list(model.steps(Wish("a cat", size=(64, 64)), cancelled))) == 1
    assert len(ran) == 5
    with LiveGeneration([model], LiveOptions(debounce_ns=0)) as live:
        live.ask(Wish("old", size=(64, 64)))
        while len(ran) < 10:
            pass
        new = live.ask(Wish("new", size=(64, 64)))
        assert live.wait_until_idle(60)
        events = live.take_events()
    assert any(isinstance(event, GenerationCancelled) for event in events)
    finals = [e for e in events if isinstance(e, PictureUpdate) and e.step == e.steps]
    assert [event.generation for event in finals] == [new]
    with pytest.raises(ModelError, match="was closed"):
        final_step(model, Wish("a cat"))


def test_terms_have_to_be_accepted(folder: Path, tmp_path: Path) -> None:
    assert not licence_of(str(folder)).needs_acceptance
    for name in ("stabilityai/sdxl-turbo", "black-forest-labs/FLUX.1-dev", "somebody/something"):
        assert licence_of(name).needs_acceptance
        with pytest.raises(ModelError, match=f"--accept-licence {name}"):
            DiffusersModel(DiffusersOptions(name, local_only=True))
    assert not licence_of("black-forest-labs/FLUX.1-schnell").needs_acceptance
    for card, name in (
        ("---\nlicense: other\nlicense_name: sai-nc-community\n---\n", "sai-nc-community"),
        ('---\nlicense: "MIT"\n---\n', "MIT"),
        ("no card at all", "unknown terms"),
        ("---\ntags: x\n---\n", "unknown terms"),
    ):
        (tmp_path / "README.md").write_text(card)
        assert licence_of(str(tmp_path)).name == name


def test_what_is_no_pipeline_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    for content in (None, "{", '{"_class_name": "NoSuchPipeline"}'):
        if content is not None:
            (tmp_path / "model_index.json").write_text(content)
        with pytest.raises(ModelError, match="cannot be opened as a pipeline") as caught:
            DiffusersModel(options(tmp_path))
        assert "\n" not in str(caught.value)


def test_the_command_line_uses_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "apple.png"
    arguments = ["imagine", "an apple", "--out", str(out), "--size", "64x64"]
    assert run([*arguments, "--model", f"diffusers:{folder}", "--steps", "1"]) == 0
    assert out.exists()
    assert "apache-2.0" in capsys.readouterr().out
    assert run([*arguments, "--model", "diffusers:stabilityai/sdxl-turbo"]) == 1
    assert "--accept-licence stabilityai/sdxl-turbo" in capsys.readouterr().err


@pytest.mark.parametrize("timesteps", [(499,), (749, 499), (899, 599, 299)])
@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
def test_a_stream_batch_gives_what_one_frame_after_the_other_does(
    model: DiffusersModel, timesteps: tuple[int, ...], predicts: str
) -> None:
    pipe = model._text
    stream = StreamBatch(pipe, StreamBatchOptions(timesteps, seed=3))
    stream._predicts = predicts
    stream.prompt("a red apple")
    generator = torch.Generator().manual_seed(4)
    frames = [torch.randn(4, 8, 8, generator=generator) for _ in range(6)]
    with torch.inference_mode():
        singly = [stream.one_by_one(frame) for frame in frames]
    runs = [0]
    hook = pipe.unet.register_forward_hook(lambda *_: runs.__setitem__(0, runs[0] + 1))
    given = [stream.push_latent(frame) for frame in frames]
    hook.remove()
    assert runs == [6]
    assert stream.delay == len(timesteps) - 1
    assert [latent is None for latent in given] == [k < stream.delay for k in range(6)]
    for k, latent in enumerate(given[stream.delay :]):
        # The net adds up a batch in another order than single frames.
        assert latent is not None
        torch.testing.assert_close(latent, singly[k], rtol=1e-4, atol=1e-4)


def test_frames_go_in_and_pictures_come_out(model: DiffusersModel) -> None:
    stream = StreamBatch(model._text)
    frame = np.full((64, 48, 3), 128, np.uint8)
    with pytest.raises(ModelError, match="expected a prompt"):
        stream.push(frame)
    stream.prompt("a cat")
    stream.restart()
    assert stream.push(frame) is None
    picture = stream.push(frame)
    assert picture is not None
    assert (picture.shape, picture.dtype) == ((64, 48, 3), np.uint8)
    other = np.zeros((32, 32, 3), np.uint8)
    assert stream.push(other) is None  # another size begins anew
    for bad in (np.zeros((30, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)):
        with pytest.raises(ValueError, match="StreamBatch: expected"):
            stream.push(bad)
    with pytest.raises(ModelError, match="is not streamed"):
        StreamBatch(object())
    for steps in ((), (10, 20), (1000,), (5, 5)):
        with pytest.raises(ValueError, match="timesteps"):
            StreamBatchOptions(steps)


def test_like_frames_are_skipped_by_chance() -> None:
    chance = np.random.default_rng(5)
    still = chance.integers(0, 256, (48, 64, 3)).astype(np.uint8)
    still[:24] //= 3
    filtered = SimilarFrames(seed=1)
    decisions = [filtered.skips(still) for _ in range(44)]
    # The same frame again is always skipped, but never more than ten times in a row.
    assert decisions == ([False] + [True] * 10) * 4
    moved = SimilarFrames(eta=0.5, seed=1)
    share = np.mean([moved.skips(np.roll(still, 8 * k, axis=0)) for k in range(400)])
    assert 0.05 < share < 0.95
    assert not any(SimilarFrames().skips(f) for f in (still, 255 - still))
    dark = np.zeros((8, 8, 3), np.uint8)
    black = SimilarFrames()
    assert [black.skips(dark), black.skips(dark)] == [False, True]
    with pytest.raises(ValueError, match="eta"):
        SimilarFrames(eta=1.0)


def frames_of(seed: int, count: int) -> list[np.ndarray]:
    """Frames that differ much, each of one tone."""
    tones = np.random.default_rng(seed).permutation(np.arange(0, 250, 250 // count))
    return [np.full((48, 80, 3), tone, np.uint8) for tone in tones[:count]]


def taken(live: LiveGeneration, wanted: Any, seconds: float = 60.0) -> PictureUpdate:
    """The first update that `wanted` accepts."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for event in live.take_events():
            assert not isinstance(event, GenerationFailed), event
            if isinstance(event, PictureUpdate) and wanted(event):
                return event
        time.sleep(0.005)
    raise AssertionError("no such picture came")


def test_a_picture_follows_frames_and_words(folder: Path) -> None:
    inner = DiffusersModel(options(folder))
    model = FollowingModel(inner, "camera")
    assert (model.name, model.label) == ("tiny, following the camera", "tiny")
    assert not model.hungry
    first, second, third = frames_of(3, 3)
    with LiveGeneration([model], LiveOptions(debounce_ns=0)) as live:
        live.ask(Wish("a red apple", size=(64, 64)))

        def fed(frame: np.ndarray, wanted: Any) -> PictureUpdate:
            stop = threading.Event()

            def feed() -> None:
                while not stop.wait(0.01):
                    model.put(frame)

            feeding = threading.Thread(target=feed)
            feeding.start()
            try:
                return taken(live, wanted)
            finally:
                stop.set()
                feeding.join()

        one = fed(first, lambda event: True)
        assert (one.step, one.steps, one.rgba.shape) == (1, ENDLESS, (64, 64, 4))
        # Two denoising steps: what comes first after a cut is still of the frame before.
        last = one.step
        other = fed(second, lambda event: event.step > last + 3)
        assert (other.rgba != one.rgba).any()
        # It is what the stream batch makes of that frame, one step after the other.
        twin = inner.stream(StreamBatchOptions())
        twin.prompt("a red apple")
        with torch.inference_mode():
            clean = twin._encoded(middle_of(second, (64, 64)))
            expected = twin._decoded(twin.one_by_one(clean))
        assert expected is not None
        assert np.abs(other.rgba[..., :3].astype(int) - expected).max() <= 2
        # Other words change the picture of the same frame; the old ones stop.
        newer = live.ask(Wish("a blue car", size=(64, 64)))
        words = fed(second, lambda event: event.generation == newer and event.step > 2)
        assert (words.rgba != other.rgba).any()
        # Where nothing moves, most frames are passed over.
        ran: list[int] = []
        hook = inner._text.unet.register_forward_hook(lambda *_: ran.append(1))
        for _ in range(40):
            wait_for(lambda: model.hungry)
            model.put(second)
            time.sleep(0.01)
        wait_for(lambda: model.hungry)
        hook.remove()
        assert 1 <= len(ran) <= 8
        live.withdraw()
        assert live.wait_until_idle(30)
        assert not model.hungry
    model.put(third)  # closed: it is ignored


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_the_middle_of_a_frame_is_followed() -> None:
    frame = np.zeros((40, 100, 3), np.uint8)
    frame[:, 30:70] = 200
    assert (middle_of(frame, (64, 64)) == 200).all()
    assert middle_of(frame, (200, 80)).shape == (80, 200, 3)
    small = middle_of(frame, (8, 16))
    assert small.shape == (16, 8, 3)
    assert (small == 200).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--imagine", "--like", "moon"], "expected camera or avatar"),
        (["--like", "camera", "--model", "diffusers:x"], "add --imagine"),
        (["--imagine", "--like", "camera"], "--model generator follows nothing"),
        (
            ["--imagine", "--like", "avatar", "--model", "diffusers:x", "--prompt", "a", "--out",
             "x.mp4"],
            "only in a window",
        ),
    ],
)  # fmt: skip
def test_following_needs_a_window_and_a_model(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(["preview", *arguments]) == 2
    assert said in capsys.readouterr().err


def plate(tone: int) -> MeshTexture:
    """A square before the viewer, of one tone."""
    corners = np.array([[-1, 1, 0], [-1, -1, 0], [1, -1, 0], [1, 1, 0]], np.float32)
    uv = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    surface = np.full((4, 4, 4), (128, 255, 128, 255), np.uint8)
    topology = Topology("plate", faces, uv, np.zeros(4, np.uint8), surface)
    normals = np.tile(np.array([0, 0, 1], np.float32), (4, 1))
    place = np.array([0, 0, -0.5], np.float32)
    albedo = np.full((8, 8, 3), tone, np.uint8)
    return MeshTexture(0, topology, 0.3 * corners + place, normals, albedo)


@pytest.mark.parametrize("what", ["camera", "avatar"])
def test_a_preview_follows_the_camera_or_the_avatar(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path))
    monkeypatch.setattr("apps.imagine_panels.PICTURE_PX", 64)
    asked = PreviewOptions(
        imagine=True, prompt="a clown", like=what, model=("stickers", f"diffusers:{folder}")
    )
    asked.check()
    view, board, marks = View.front((160, 120)), PanelBoard(), list[Mark]()
    with imagining(asked, board, view, marks.append) as made:
        followed = made.followed
        assert followed is not None
        draw = followed.drawing(draw_nothing)

        def settled(camera: int, avatar: int) -> bytes:
            """The picture once several came while both were seen to be like this."""
            rgb = np.full((120, 160, 3), camera, np.uint8)
            frame: Any = SimpleNamespace(frame=Frame(0, 0, Camera.from_fov((160, 120)), rgb))
            begun, end = None, time.monotonic() + 120
            while time.monotonic() < end:
                draw(plate(avatar), view, ())
                followed.show(frame)
                made.panels.refresh(5)
                update, panel = made.panels.shown, board.get("imagined")
                if update is not None and update.model.startswith("tiny"):
                    begun = update.step if begun is None else begun
                    if update.step >= begun + 4 and panel is not None:
                        assert panel.generated_by == "tiny"
                        return panel.rgba.tobytes()
                time.sleep(0.002)
            raise AssertionError("no picture came")

        dark = settled(40, 40)
        bright = settled(200, 40) if what == "camera" else settled(40, 200)
        assert bright != dark, "it follows"
        assert settled(200, 200) == bright, "and nothing else"
    names = [json.loads(mark.text)["model"] for mark in marks]
    assert names.count(f"tiny, following the {what}") == 1
