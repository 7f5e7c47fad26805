"""What our codec is compared with on one person's video: the mean, PCA, and the conv reference.

All three see what ours sees (the face unwrapped into the personal atlas on the tracked mesh), give
back a texture for each held-out moment, and are drawn on our mesh by our renderer, so that only the
texture differs. They work on differences from the average texture at `size` texels a side, which
are magnified and added to the average at the atlas' own resolution. None of them gets the exposure
of a frame told; they have to spend code on it.

`compare` does all of it for one model; `python -m benchmarks.reference_codecs VIDEO` prints it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
import tyro

from apps.likeness_evaluation import Figures, evaluate_likeness
from avatar.datasets.capture_files import resized
from avatar.datasets.registered_capture import RegisteredMoment
from avatar.enrolment.recipe import nearest_texel
from avatar.head_mesh import ATLAS, HeadMesh
from avatar.mesh_assembly import view_direction
from avatar.personal_avatar import PersonalAvatar
from avatar.personal_model import LANDMARKS, PersonalModel
from avatar.picture_encoder import face_table
from avatar.posed_face import PosedFace
from avatar.training.capture_training import (
    MODEL,
    CaptureTrainer,
    CaptureTrainingOptions,
    new_codec,
)
from avatar.training.codec_evaluation import principal_rows
from avatar.training.conv_decoder import ConvOptions
from avatar.training.face_codec import Batch, FaceCodec, FaceScale, sample_rows
from avatar.training.process_group import ProcessGroup
from avatar.training.training_checkpoint import TrainingCheckpoint
from avatar.unwrapping import unwrap
from streams.avatar_code import AvatarCode
from streams.frame import Frame
from streams.mesh_nodes import MeshNodes
from streams.mirror import mirror_frame
from streams.texture_basis import TextureBasis
from streams.tracked_state import FacePose, TrackedState
from streams.view import View

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]
Moments = Iterable[tuple[Frame, TrackedState]]
MakeMoments = Callable[[], Iterator[tuple[Frame, TrackedState]]]

SIZE = 256
MOST_MOMENTS = 1200
"""A longer video is thinned evenly, as enrolment does."""
PCA_MOMENTS = 400
FACE_SHARE = 0.75
"""Of the atlas' rows; below lie neck, clothes and hands, which no codec here changes."""


class PersonUnwrapping:
    """A frame's face as a `RegisteredMoment`: the personal atlas on the model's own mesh, and as
    geometry the tracked landmarks."""

    def __init__(self, model: PersonalModel, size: int = SIZE) -> None:
        head = HeadMesh.open("default")
        self.size, self.table = size, face_table(head)
        self._model = model
        self._posed = PosedFace(head, model.rest, model.moves, model.eyes, model.gaze_map)

    def of(self, frame: Frame, face: FacePose) -> RegisteredMoment:
        """Texture and visibility at `size` texels."""
        frame = mirror_frame(frame) if frame.mirrored else frame
        geometry, _ = self._model.landmark_code(face.landmarks)
        vertices, normals = self._posed.of(geometry, face.gaze)
        found = unwrap(
            self.table, frame.rgb, frame.camera, face.world_from_head, vertices, normals,
            face.landmarks,
        )  # fmt: skip
        texture = np.asarray(self.table.picture(found.colours), np.uint8)
        seen = np.asarray(self.table.picture(found.seen), np.float32)
        texture, seen = resized(texture, seen, self.size)
        view = view_direction(face.world_from_head, None)
        landmarks = np.ascontiguousarray(face.landmarks[:LANDMARKS], np.float32)
        return RegisteredMoment(str(frame.t_ns), "webcam", landmarks, texture, seen, view)


class PersonCapture:
    """A video as a `RegisteredCapture`, in memory; the landmarks carry no surface."""

    def __init__(self, moments: list[RegisteredMoment]) -> None:
        self._moments = moments
        self.faces = np.zeros((0, 3), np.int32)
        self.uv = np.zeros((LANDMARKS, 2), np.float32)

    @staticmethod
    def read(unwrapping: PersonUnwrapping, moments: Moments) -> PersonCapture:
        """Those with a face."""
        pairs = ((frame, state.face) for frame, state in moments)
        return PersonCapture([unwrapping.of(frame, face) for frame, face in pairs if face])

    def __len__(self) -> int:
        return len(self._moments)

    def __getitem__(self, index: int) -> RegisteredMoment:
        return self._moments[index]


class ReferenceCodec(Protocol):
    """Repeats a moment's texture."""

    def difference(self, moment: RegisteredMoment) -> Float32:
        """(size, size, 3) code values: the repeated texture minus `FaceScale.texture_mean`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MeanCodec:
    """No code at all."""

    def difference(self, moment: RegisteredMoment) -> Float32:
        return np.zeros_like(moment.texture, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class ExactCodec:
    """The moment's own texture: what the size of the textures alone costs."""

    mean: Float32
    """(3, size, size)."""

    def difference(self, moment: RegisteredMoment) -> Float32:
        return _seen_difference(moment, self.mean).transpose(1, 2, 0)


@dataclass(frozen=True, slots=True, eq=False)
class PrincipalCodec:
    """The projection of the moment itself on the training moments' principal components: what no
    global linear code of so many numbers beats."""

    mean: Float32
    """(3, size, size)."""
    rows: torch.Tensor
    """(numbers, 3 * size * size)."""

    @staticmethod
    def fit(capture: PersonCapture, scale: FaceScale, numbers: int = 64) -> PrincipalCodec:
        """From at most PCA_MOMENTS of the capture."""
        chosen = sample_rows(len(capture), PCA_MOMENTS)
        flat = [_seen_difference(capture[int(row)], scale.texture_mean).ravel() for row in chosen]
        return PrincipalCodec(
            scale.texture_mean, principal_rows(torch.from_numpy(np.stack(flat)), numbers)
        )

    def difference(self, moment: RegisteredMoment) -> Float32:
        flat = torch.from_numpy(_seen_difference(moment, self.mean).ravel())
        shown = (self.rows @ flat) @ self.rows
        return shown.numpy().reshape(self.mean.shape).transpose(1, 2, 0)


@dataclass(frozen=True, slots=True, eq=False)
class ConvReference:
    """The convolutional codec, encoded from the moment's own texture and landmarks. Trained
    without its noise, with which minutes on a CPU lead nowhere."""

    codec: FaceCodec
    steps: int
    """That it was trained for."""

    @staticmethod
    def train(
        capture: PersonCapture,
        seconds: float,
        size: int = SIZE,
        options: CaptureTrainingOptions | None = None,
    ) -> ConvReference:
        """For about so many seconds on this machine: a few steps are timed, then training begins
        anew with as many as fit, so that the learning rate runs its whole course."""
        alone = ProcessGroup(0, 1, torch.device("cpu"))
        options = options or CaptureTrainingOptions(
            conv=ConvOptions(size), batch=8, learning_rate=1e-3, warm_up=50, sampled=False
        )
        start = new_codec(capture, options)
        tensors = {f"{MODEL}{k}": v.clone() for k, v in start.state_dict().items()}
        begin = TrainingCheckpoint(0, tensors, options.about())
        trial = CaptureTrainer(capture, replace(options, steps=8), begin, alone)
        times = []
        for _ in range(8):
            begun = time.monotonic()
            trial.step()
            times.append(time.monotonic() - begun)
        left = seconds - sum(times)
        steps = max(int(left / float(np.median(times[2:]))), 20)
        trainer = CaptureTrainer(capture, replace(options, steps=steps), begin, alone)
        for _ in range(steps):
            trainer.step()
        return ConvReference(trainer.codec.eval(), steps)

    def difference(self, moment: RegisteredMoment) -> Float32:
        batch = Batch.of([moment], self.codec.size)
        with torch.no_grad():
            inputs = self.codec.normalised(batch)
            texture, _ = self.codec.decode(self.codec.encode(*inputs).mean, batch.view)
            colours = (texture * self.codec.texture_std)[0]
        return colours.permute(1, 2, 0).numpy()


def _seen_difference(moment: RegisteredMoment, mean: Float32) -> Float32:
    """(3, size, size), 0 where nothing is seen."""
    return (moment.texture.transpose(2, 0, 1) - mean) * moment.seen


class ReferenceAvatar(PersonalAvatar):
    """Our avatar with a reference codec's texture: what its `encode` saw, `decode_nodes` shows."""

    def __init__(
        self,
        model: PersonalModel,
        avatar_id: str,
        unwrapping: PersonUnwrapping,
        codec: ReferenceCodec,
        mean: UInt8,
    ) -> None:
        """`mean` (ATLAS, ATLAS, 3): see `mean_atlas`."""
        super().__init__(model, avatar_id, fade=False)
        self._unwrapping, self._codec = unwrapping, codec
        self._mean = mean.astype(np.float32)
        self._spread = nearest_texel(unwrapping.table)
        self._shown: tuple[int, UInt8] | None = None

    def encode(self, state: TrackedState, frame: Frame | None = None) -> AvatarCode:
        self._shown = None
        if frame is not None and state.face is not None:
            moment = self._unwrapping.of(frame, state.face)
            self._shown = (state.t_ns, self._picture(self._codec.difference(moment)))
        return super().encode(state, frame)

    def decode_nodes(self, code: AvatarCode, view: View | None = None) -> MeshNodes:
        nodes = super().decode_nodes(code, view)
        if self._shown is None or self._shown[0] != code.t_ns:
            return nodes
        basis = TextureBasis(
            self._shown[1], np.zeros((4, 1, 1, 3), np.int8), np.ones(4, np.float32), (2, 2)
        )
        coefficients = np.zeros(basis.nodes_shape, np.float32)
        return replace(nodes, basis=basis, nodes=coefficients, gain=np.ones(3, np.float32))

    def _picture(self, difference: Float32) -> UInt8:
        size = self._unwrapping.table.size
        chart = cv2.resize(difference, (size, size), interpolation=cv2.INTER_LINEAR)
        table = self._unwrapping.table
        spread = chart[table.rows, table.columns][self._spread]
        whole = cv2.resize(spread, (ATLAS, ATLAS), interpolation=cv2.INTER_LINEAR)
        out, face = self._mean.copy(), int(ATLAS * FACE_SHARE)
        out[:face] += whole[:face]
        return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def mean_atlas(model: PersonalModel, scale: FaceScale, unwrapping: PersonUnwrapping) -> UInt8:
    """(ATLAS, ATLAS, 3): the model's average texture, whose detail is finer, at the level of the
    average of what the codecs were trained on (the model's is at an even exposure)."""
    table = unwrapping.table
    mean = np.asarray(model.mean, np.float32)
    own = scale.texture_mean.transpose(1, 2, 0)
    coarse = cv2.resize(mean, own.shape[:2], interpolation=cv2.INTER_AREA)
    away = cv2.resize(own - coarse, (table.size, table.size), interpolation=cv2.INTER_LINEAR)
    spread = away[table.rows, table.columns][nearest_texel(table)]
    whole = cv2.resize(spread, (ATLAS, ATLAS), interpolation=cv2.INTER_LINEAR)
    face = int(ATLAS * FACE_SHARE)
    out = mean.copy()
    out[:face] += whole[:face]
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def compare(
    model: PersonalModel,
    training: MakeMoments,
    held_out: MakeMoments,
    seconds: float,
    size: int = SIZE,
) -> Iterator[tuple[str, Figures]]:
    """A row for each reference codec, as soon as it is there. `training` and `held_out` give the
    moments (with and without a face) from their beginning whenever they are called; the conv
    reference is trained for about `seconds`."""
    unwrapping = PersonUnwrapping(model, size)
    capture = PersonCapture.read(unwrapping, training())
    scale = FaceScale.of(capture, size)
    mean = mean_atlas(model, scale, unwrapping)

    def figures(codec: ReferenceCodec) -> Figures:
        with ReferenceAvatar(model, "avatars/reference", unwrapping, codec, mean) as avatar:
            return evaluate_likeness(avatar, held_out(), with_frames=True).figures

    yield "mean texture", figures(MeanCodec())
    yield f"at {size} texels", figures(ExactCodec(scale.texture_mean))
    yield "PCA 64", figures(PrincipalCodec.fit(capture, scale))
    conv = ConvReference.train(capture, seconds, size)
    yield f"conv, {conv.steps} steps", figures(conv)


@dataclass(frozen=True, slots=True)
class ReferenceCodecs:
    """Print the references' rows for a video."""

    video: tyro.conf.Positional[Path]
    seconds: float = 180.0
    """Of training the conv reference."""
    frames: int = 60
    """Held-out moments."""
    size: int = SIZE

    def run(self) -> None:
        from avatar.enrolment.observations import Observations
        from avatar.enrolment.recipe import enrol
        from benchmarks.held_out import TRAINED_SHARE, frames_of, held_out, learned_from, track

        states = track(self.video)
        first = int(len(states) * TRAINED_SHARE)
        model = enrol(lambda: frames_of(self.video), Observations.of(states[:first]))

        def training() -> Iterator[tuple[Frame, TrackedState]]:
            return learned_from(self.video, states, MOST_MOMENTS)

        def rest() -> Iterator[tuple[Frame, TrackedState]]:
            return held_out(self.video, states, self.frames)

        with PersonalAvatar(model, "avatars/ours", fade=False) as ours:
            print(f"  {'encoded, ours':16s} {evaluate_likeness(ours, rest(), True).figures.line()}")
        for name, figures in compare(model, training, rest, self.seconds, self.size):
            print(f"  {name:16s} {figures.line()}", flush=True)


if __name__ == "__main__":
    tyro.cli(ReferenceCodecs).run()
