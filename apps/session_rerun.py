"""A session as a Rerun recording (`.rrd`), ready to scrub: pictures, person, avatar, graphs, sound.

Entities, all in the world's frame (y up, metres) unless they say otherwise:

    /world/cameras/NAME          pose and pinhole; .../picture: H.264 as a VideoStream
    /world/head                  pose with axes, .../gaze: arrows in the head's frame
    /world/hands/SIDE            21 joints, .../bones: the lines between them
    /world/avatar, .../hair      decoded mesh and texture; hair rides on the head's pose
    /world/panels/ID             panels where they hang; /panels/ID: flat, with their label
    /face/shapes/GROUP           the 52 blend shapes; /confidence/...: 0 to 1
    /audio/SOURCE, /marks        sound as WAV; named moments

Timelines: `session`, seconds since the session's start, and `frame`, which counts moments.
"""

from __future__ import annotations

import io
import wave
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.pipeline import Codes
from apps.rerun_mesh import RerunMesh
from apps.sound_line import SoundFormat, SoundLine
from overlay.placement import place_panels
from sessions.picture_track import PictureEncoder, PictureOptions
from sessions.seams import Record
from streams.audio_block import AudioBlock
from streams.avatar_code import AvatarCode
from streams.camera import Camera
from streams.face_shapes import FACE_SHAPES
from streams.frame import Frame
from streams.hand_skeleton import FINGER_JOINTS
from streams.mark import Mark
from streams.mirror import mirror_camera
from streams.panel import Panel
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.tracked_state import SIDES, FacePose, HandPose, TrackedState

SHAPE_GROUPS = ("eye", "brow", "mouth", "rest")
SIDE_COLOURS = {"left": (240, 140, 40), "right": (60, 150, 240)}
BONES = [[0, *finger] for finger in FINGER_JOINTS] + [[5, 9, 13, 17]]
"""Joints that lines run through: each finger from the wrist, and across the knuckles."""
GAZE_M = 0.15
"""Length of the gaze's arrows."""
PICTURE_PLANE_M = 0.12
"""How far before its camera a picture hangs in the 3D view."""
QUAD = np.array([[-0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.5, -0.5, 0.0], [-0.5, -0.5, 0.0]])
QUAD_UV = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
QUAD_FACES = [[0, 2, 1], [0, 3, 2]]


@dataclass(frozen=True, slots=True)
class RerunOptions:
    """What is written, and how densely."""

    name: str = "session"
    mesh_fps: float = 10.0
    """Avatar meshes a second at most: one has about 0.2 MB."""
    mesh_from: str = "state"
    """"state" or "code"."""
    fps: float = 30.0
    """Of the cameras, nominal."""
    pictures: PictureOptions = field(default_factory=lambda: PictureOptions(kbps=4000.0))


def write_rerun(
    records: Iterable[Record],
    path: Path,
    start_ns: int,
    avatar: Codes | None = None,
    options: RerunOptions | None = None,
) -> dict[str, int]:
    """Write `.rrd`; `records` come in the order of their times, `start_ns` is time 0.

    With `avatar` the mesh is decoded from the codes, or from the states (`options.mesh_from`).
    Returns how many records of each kind were written. Raises ImportError (which names the extra)
    without rerun-sdk, OSError when the file cannot be written.
    """
    rr = import_rerun()
    options = options or RerunOptions()
    path.touch()  # Rerun itself would only log that it cannot.
    recording = rr.RecordingStream(
        "visavis", recording_id=f"{options.name}-{start_ns}", send_properties=False
    )
    try:
        recording.set_log_time_enabled(False)
        recording.set_log_tick_enabled(False)
        recording.save(path)
        recording.send_recording_name(options.name)
        log = _RerunLog(rr, recording, start_ns, options)
        if avatar is not None:
            log.mesh = RerunMesh(rr, recording, avatar, options.mesh_fps)
        for record in records:
            log.add(record)
        log.finish()
        recording.flush()
    finally:
        recording.disconnect()
    return {kind: count for kind, count in log.counts.items() if count}


def import_rerun() -> ModuleType:
    """The package. Raises ImportError, which names the extra."""
    try:
        import rerun
    except ImportError as error:
        raise ImportError("writing .rrd needs rerun-sdk: pip install 'visavis[rerun]'") from error
    return rerun


class _RerunLog:
    """Records to entities, one after the other."""

    def __init__(
        self, rr: ModuleType, recording: Any, start_ns: int, options: RerunOptions
    ) -> None:
        self._rr, self._recording, self._start_ns = rr, recording, start_ns
        self._options = options
        self.counts: Counter[str] = Counter()
        self.mesh: RerunMesh | None = None
        self._encoders: dict[str, PictureEncoder] = {}
        self._cameras: dict[str, Camera] = {}
        self._sounds: dict[str, _Sound] = {}
        self._panels: tuple[Panel, ...] = ()
        self._panel_pictures: dict[str, npt.NDArray[np.uint8]] = {}
        self._frame, self._frame_ns = -1, -1
        self._person_ns: int | None = None
        self._set_up()

    def add(self, record: Record) -> None:
        """Log one record; headset samples and views have no entity."""
        if isinstance(record, AudioBlock):
            if record.source not in self._sounds:
                self._sounds[record.source] = _Sound(record)
            self._sounds[record.source].add(record)
            self.counts["audio"] += 1
            return
        self._at(record)
        if isinstance(record, Frame):
            self._add_frame(record)
            self.counts["frames"] += 1
        elif isinstance(record, TrackedState):
            self._add_state(record)
            self.counts["state"] += 1
        elif isinstance(record, AvatarCode):
            self._add_code(record)
            self.counts["code"] += 1
        elif isinstance(record, ShownPanels):
            self._add_panels(record)
            self.counts["panels"] += 1
        elif isinstance(record, Mark):
            said = f"{record.name}: {record.text}" if record.text else record.name
            self._log("/marks", self._rr.TextLog(said, level=self._rr.TextLogLevel.INFO))
            self.counts["marks"] += 1

    def finish(self) -> None:
        """Log what is known only at the end: sound, and how the viewer is to show all of it."""
        for source, sound in self._sounds.items():
            self._recording.reset_time()
            self._recording.set_time("session", duration=self._since(sound.t_ns))
            asset = self._rr.AssetAudio(contents=sound.wav(), media_type="audio/wav")
            self._log(f"/audio/{self._part(source)}", asset)
        self._recording.send_blueprint(self._blueprint())

    def _set_up(self) -> None:
        rr = self._rr
        self._log("/world", rr.ViewCoordinates.RIGHT_HAND_Y_UP, static=True)
        self._log("/world/head", rr.TransformAxes3D(0.08), static=True)
        for group in SHAPE_GROUPS:
            names = [name for name in FACE_SHAPES if _group_of(name) == group]
            self._log(f"/face/shapes/{group}", rr.SeriesLines(names=names), static=True)
        for what in ("face", *SIDES):
            self._log(f"/confidence/{what}", rr.SeriesLines(names=[what]), static=True)

    def _at(self, record: Record) -> None:
        """Set both timelines to the record's moment."""
        if record.t_ns != self._frame_ns:
            self._frame, self._frame_ns = self._frame + 1, record.t_ns
        self._recording.set_time("session", duration=self._since(record.t_ns))
        self._recording.set_time("frame", sequence=self._frame)

    def _since(self, t_ns: int) -> np.timedelta64:
        return np.timedelta64(t_ns - self._start_ns, "ns")

    def _log(self, entity: str, *what: Any, static: bool = False) -> None:
        self._recording.log(entity, *what, static=static, strict=True)

    def _part(self, name: str) -> str:
        return self._rr.escape_entity_path_part(name or "default")

    def _add_frame(self, frame: Frame) -> None:
        # A mirror image is turned back, so that it lies right before what was tracked in it.
        camera = mirror_camera(frame.camera) if frame.mirrored else frame.camera
        rgb = np.ascontiguousarray(frame.rgb[:, ::-1]) if frame.mirrored else frame.rgb
        name = frame.camera.name
        entity = f"/world/cameras/{self._part(name)}"
        if self._cameras.get(name) is not frame.camera:
            self._log_camera(entity, camera)
            if name not in self._cameras or self._cameras[name].size != camera.size:
                stream = self._rr.VideoStream(self._rr.VideoCodec.H264)
                self._log(f"{entity}/picture", stream, static=True)
                options = self._options
                self._encoders[name] = PictureEncoder(camera.size, options.fps, options.pictures)
            self._cameras[name] = frame.camera
        data, key = self._encoders[name].encode(rgb, frame.t_ns)
        sample = self._rr.VideoStream.from_fields(sample=data, is_keyframe=key)
        self._log(f"{entity}/picture", sample)

    def _log_camera(self, entity: str, camera: Camera) -> None:
        rr = self._rr
        self._log(entity, _transform(rr, camera.world_from_camera), static=True)
        # Rerun counts from the corner of the first pixel, we from its centre.
        pinhole = rr.Pinhole(
            focal_length=camera.focal,
            principal_point=camera.centre + 0.5,
            resolution=camera.size,
            camera_xyz=rr.ViewCoordinates.RDF,
            image_plane_distance=PICTURE_PLANE_M,
        )
        self._log(f"{entity}/picture", pinhole, static=True)

    def _add_state(self, state: TrackedState) -> None:
        rr, face = self._rr, state.face
        self._add_person(state.t_ns, None if face is None else face.world_from_head, state.hands)
        self._log("/confidence/face", rr.Scalars(0.0 if face is None else face.confidence))
        if face is not None and face.parts is not None:
            self._log("/confidence/left_gaze", rr.Scalars(face.parts.left_gaze))
            self._log("/confidence/right_gaze", rr.Scalars(face.parts.right_gaze))
            self._log("/confidence/mouth", rr.Scalars(face.parts.mouth))
        for side in SIDES:
            hand = state.hand(side)
            self._log(f"/confidence/{side}", rr.Scalars(0.0 if hand is None else hand.confidence))
        if face is not None:
            self._add_face(face)
        if self.mesh is not None and self._options.mesh_from == "state":
            self.mesh.add(state)

    def _add_face(self, face: FacePose) -> None:
        for group in SHAPE_GROUPS:
            chosen = [k for k, name in enumerate(FACE_SHAPES) if _group_of(name) == group]
            scalars = self._rr.Scalars(face.blendshapes[chosen])
            self._log(f"/face/shapes/{group}", scalars)
        self._add_gaze(face.gaze)

    def _add_gaze(self, gaze: npt.NDArray[np.float32]) -> None:
        eyes = [[0.0315, 0.0, 0.0], [-0.0315, 0.0, 0.0]]
        arrows = self._rr.Arrows3D(
            origins=eyes, vectors=gaze * GAZE_M, radii=0.0015,
            colors=[SIDE_COLOURS[side] for side in SIDES],
        )  # fmt: skip
        self._log("/world/head/gaze", arrows)

    def _add_code(self, code: AvatarCode) -> None:
        if self._person_ns != code.t_ns:  # a session of codes alone
            self._add_person(code.t_ns, code.world_from_head, code.hands)
            if code.world_from_head is not None:
                self._add_gaze(code.gaze)
        if self.mesh is not None and self._options.mesh_from == "code":
            self.mesh.add(code)

    def _add_person(
        self, t_ns: int, world_from_head: Rigid | None, hands: tuple[HandPose, ...]
    ) -> None:
        rr, self._person_ns = self._rr, t_ns
        # Nothing of a head that is not seen stays in the picture.
        self._log("/world/head", _transform(rr, world_from_head))
        for side in SIDES:
            hand = next((hand for hand in hands if hand.side == side), None)
            entity, colour = f"/world/hands/{side}", SIDE_COLOURS[side]
            if hand is None:
                self._log(entity, rr.Clear(recursive=True))
                continue
            self._log(entity, rr.Points3D(hand.joints, radii=0.004, colors=colour))
            strips = [hand.joints[line] for line in BONES]
            self._log(f"{entity}/bones", rr.LineStrips3D(strips, radii=0.0015, colors=colour))
        self._place_panels(world_from_head, hands)

    def _add_panels(self, shown: ShownPanels) -> None:
        rr, kept = self._rr, {panel.id for panel in shown.panels}
        for gone in [panel.id for panel in self._panels if panel.id not in kept]:
            for where in ("/panels", "/world/panels"):
                self._log(f"{where}/{self._part(gone)}", rr.Clear(recursive=True))
            del self._panel_pictures[gone]
        self._panels = shown.panels
        for panel in shown.panels:
            if self._panel_pictures.get(panel.id) is not panel.rgba:
                self._panel_pictures[panel.id] = panel.rgba
                self._log_panel(panel)
        self._place_panels(None, ())

    def _log_panel(self, panel: Panel) -> None:
        rr, part = self._rr, self._part(panel.id)
        height, width = panel.rgba.shape[:2]
        self._log(f"/panels/{part}", rr.Image(panel.rgba))
        label = f"{panel.id} ({panel.anchor})"
        if panel.generated_by is not None:
            label = f"made by AI: {panel.generated_by}"
        box = rr.Boxes2D(mins=[0, 0], sizes=[width, height], labels=[label], show_labels=True)
        self._log(f"/panels/{part}/label", box)
        mesh = rr.Mesh3D(
            vertex_positions=QUAD * [*panel.size_m, 1.0],
            triangle_indices=QUAD_FACES,
            vertex_texcoords=QUAD_UV,
            albedo_texture=panel.rgba,
        )
        self._log(f"/world/panels/{part}", mesh)

    def _place_panels(self, world_from_head: Rigid | None, hands: tuple[HandPose, ...]) -> None:
        placed = {p.id: p for p in place_panels(self._panels, world_from_head, hands)}
        for panel in self._panels:
            there = placed.get(panel.id)
            place = None if there is None else there.anchor_from_panel
            self._log(f"/world/panels/{self._part(panel.id)}", _transform(self._rr, place))

    def _blueprint(self) -> Any:
        import rerun.blueprint as rrb

        def graphs(name: str, origin: str) -> Any:
            return rrb.TimeSeriesView(name=name, origin=origin)

        pictures = [
            rrb.Spatial2DView(name=name, origin=f"/world/cameras/{self._part(name)}/picture")
            for name in self._cameras
        ]
        if self.counts["panels"]:
            pictures.append(rrb.Spatial2DView(name="panels", origin="/panels"))
        below: list[Any] = [
            rrb.AudioView(name=name, origin=f"/audio/{self._part(name)}") for name in self._sounds
        ]
        if self.counts["marks"]:
            below.append(rrb.TextLogView(name="marks", origin="/marks"))
        space = rrb.Spatial3DView(
            name="world",
            origin="/world",
            eye_controls=rrb.EyeControls3D(
                position=(0.35, 0.25, 0.55), look_target=(0.0, 0.0, -0.5), eye_up=(0.0, 1.0, 0.0)
            ),
        )
        shapes = rrb.Tabs(
            *(graphs(group, f"/face/shapes/{group}") for group in SHAPE_GROUPS), name="shapes"
        )
        left = rrb.Vertical(space, *below, row_shares=[4.0, *[1.0] * len(below)])
        right = rrb.Vertical(
            *([rrb.Tabs(*pictures)] if pictures else []),
            shapes,
            graphs("confidence", "/confidence"),
        )
        return rrb.Blueprint(
            rrb.Horizontal(left, right, column_shares=[3, 2]),
            rrb.TimePanel(timeline="session"),
            collapse_panels=True,
        )


def _transform(rr: ModuleType, place: Rigid | None) -> Any:
    """The pose; None: at no size, which shows nothing."""
    if place is None:
        return rr.Transform3D(scale=0.0)
    w, x, y, z = place.wxyz
    return rr.Transform3D(translation=place.xyz, quaternion=rr.Quaternion(xyzw=[x, y, z, w]))


def _group_of(shape: str) -> str:
    return next((group for group in SHAPE_GROUPS[:-1] if shape.startswith(group)), "rest")


class _Sound:
    """The blocks of one source as a WAV file."""

    def __init__(self, first: AudioBlock) -> None:
        self.t_ns = first.t_ns
        sound = SoundFormat.of(first)
        self._line = SoundLine(sound, first.t_ns)
        self._bytes = io.BytesIO()
        self._file = wave.open(self._bytes, "wb")  # noqa: SIM115 - closed in wav()
        self._file.setnchannels(sound.laid_channels)
        self._file.setsampwidth(2)
        self._file.setframerate(sound.rate)

    def add(self, block: AudioBlock) -> None:
        self._file.writeframesraw(np.ascontiguousarray(self._line.add(block)).tobytes())

    def wav(self) -> bytes:
        self._file.close()
        return self._bytes.getvalue()
