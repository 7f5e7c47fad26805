"""`visavis train`: make the codec's weights from the synthetic capture dome, or train a codec on
registered faces of a capture dome."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from apps.capture_training import CAPTURES, CaptureTraining
from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from avatar.training.adaptation import SeenFaces
    from avatar.training.dome import Shapes

FRAMES, QUICK_FRAMES = 640, 24
SEEN_SIZE = (384, 384)
SETTLE_FRAMES = 3
"""How often the tracker sees each face before it is believed: it follows from frame to frame."""


@dataclass(frozen=True, slots=True)
class Train:
    """Train the neural avatars on a data set and write their weights."""

    dataset: tyro.conf.Positional[str] = "dome"
    """What to learn from: "dome", the synthetic people under many cameras, makes the weights that
    ship. "multiface" and "ava256" with the PATH of one person's capture train one codec on it;
    "capture-dome" trains the same on a synthetic person, without any download."""
    path: tyro.conf.Positional[Path | None] = None
    """The capture's folder."""
    frames: int = FRAMES
    """Pictures to capture, shared by the people."""
    seen: int = 800
    """Faces that are also shown to the tracker, so that the encoder learns how it sees them; 0
    leaves that out."""
    quick: bool = False
    """A trial of a minute, to see that all works; its weights are of no use."""
    seed: int = 7
    """Of everything random: equal seeds give equal weights on one machine."""
    out: Path | None = None
    """Where to write the weights (default: the shipped file, assets/avatars/codec.safetensors); for
    captures the folder of checkpoints, from which training goes on (default: training-DATASET)."""
    capture: CaptureTraining = field(default_factory=CaptureTraining)

    def run(self) -> int:
        """Capture, fit, write, measure."""
        if self.dataset in CAPTURES:
            out = self.out or Path(f"training-{self.dataset}")
            return self.capture.run(self.dataset, self.path, out, self.seed, self.quick)
        if self.dataset != "dome":
            raise UsageError(
                f"train: expected the data set dome, {', '.join(CAPTURES)}, got {self.dataset!r}"
            )
        if self.frames < QUICK_FRAMES or self.seen < 0:
            raise UsageError(
                f"train: expected --frames from {QUICK_FRAMES} and --seen from 0, "
                f"got {self.frames} and {self.seen}"
            )
        import torch

        from assets.baking.complexion import COMPLEXIONS
        from assets.baking.person import Person
        from assets.manifest import assets_folder
        from avatar.head_mesh import HeadMesh
        from avatar.head_placement import moving_vertices
        from avatar.training.adaptation import AdaptationOptions, adapt_encoder
        from avatar.training.dome import capture_dome
        from avatar.training.evaluation import evaluate
        from avatar.training.recipe import RecipeOptions, train

        # Tiny networks: threads cost more than they give, and one thread adds up in one order.
        torch.set_num_threads(1)
        frames, seen = (QUICK_FRAMES, 0) if self.quick else (self.frames, self.seen)
        out = self.out or assets_folder() / "avatars" / "codec.safetensors"
        options = RecipeOptions()
        if self.quick:
            options = replace(
                options, colour_rounds=2, networks=replace(options.networks, steps=200)
            )
        begun = time.monotonic()

        def say(line: str) -> None:
            print(f"[{time.monotonic() - begun:5.0f} s] {line}", flush=True)

        people = {}
        for name in COMPLEXIONS:
            people[name] = Person.open(name)
            say(f"dome: {name} is ready")
        moving = moving_vertices(HeadMesh.open(next(iter(people))))
        dome = capture_dome(people, moving, frames, self.seed, say)
        kept, held_out = dome.split(options.held_out)
        trained = train(kept, options, say)
        trained.write(out)
        say(f"held out, true weights: {evaluate(out, held_out, kept)}")
        if seen:
            pairs = show_to_tracker(kept.shapes, kept.people, seen, self.seed + 1, out)
            say(f"tracker: {len(pairs.person)} of {seen} faces were found")
            shapes = kept.shapes
            networks = adapt_encoder(
                trained.networks,
                (shapes.person, shapes.weights, shapes.gaze),
                pairs,
                AdaptationOptions(),
                say,
            )
            trained = replace(trained, networks=networks)
            trained.write(out)
            say(f"held out, true weights: {evaluate(out, held_out, kept)}")
        say(f"{out}: {out.stat().st_size / 1e6:.2f} MB")
        if self.out is None:
            say("now: python -m assets.manifest --update avatars/codec.safetensors")
        return 0


def show_to_tracker(
    shapes: Shapes, people: Sequence[str], count: int, seed: int, weights: Path
) -> SeenFaces:
    """About `count` of these moments as they are and as the tracker sees them; those whose face it
    does not find are left out.

    The codec in `weights` gives the picture, so the tracker sees what it will see of the avatar.
    """
    import numpy as np

    from avatar.codec import Avatar
    from avatar.training.adaptation import SeenFaces
    from render.renderer import RenderOptions, open_renderer
    from streams.frame import Frame
    from streams.rigid import Rigid
    from streams.tracked_state import FacePose, TrackedState
    from streams.view import View
    from tracking.tracker import Tracker, TrackerOptions

    rng = np.random.default_rng(seed)
    view = View.front(SEEN_SIZE)
    camera = view.camera()
    rows, seen_shapes, seen_gaze = [], [], []
    t_ns, seq = 0, 0
    with (
        open_renderer("gl", RenderOptions(depth=False)) as renderer,
        Tracker.open(TrackerOptions(hands=0)) as tracker,
    ):
        for index, name in enumerate(people):
            mine = np.flatnonzero(shapes.person == index)
            chosen = rng.choice(mine, min(count // len(people), len(mine)), replace=False)
            with Avatar.open(name, weights) as avatar:
                for row in chosen:
                    turn = rng.normal(size=3) * np.deg2rad([8.0, 12.0, 5.0])
                    place = np.array([0.0, -0.03, -0.5]) + rng.normal(size=3) * 0.02
                    face = FacePose(
                        shapes.weights[row],
                        np.zeros((478, 3), np.float32),
                        shapes.gaze[row],
                        Rigid.from_rotvec(turn, place),
                        1.0,
                    )
                    mesh = avatar.decode(avatar.encode(TrackedState(t_ns, "dome", face)), view)
                    rgb = np.ascontiguousarray(renderer.draw(mesh, view).rgba[..., :3])
                    found = None
                    for _ in range(SETTLE_FRAMES):
                        t_ns, seq = t_ns + 33_333_333, seq + 1
                        found = tracker.track(Frame(t_ns, seq, camera, rgb)).face
                    if found is not None:
                        rows.append(row)
                        seen_shapes.append(found.blendshapes)
                        seen_gaze.append(found.gaze)
    if not rows:
        raise FailedError("train: the tracker found no face in the drawn pictures")
    return SeenFaces(
        person=shapes.person[rows],
        weights=shapes.weights[rows],
        gaze=shapes.gaze[rows],
        seen_weights=np.stack(seen_shapes),
        seen_gaze=np.stack(seen_gaze),
    )
