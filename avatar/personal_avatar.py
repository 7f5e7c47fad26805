"""The avatar of one real person: encoded from the camera's picture, or driven where there is none.

with PersonalAvatar(model, "avatars/me") as avatar:
    code = avatar.encode(state, frame)        # the frame's texture, projected on the code
    mesh = avatar.decode(code, view)          # or decode_nodes, for a renderer that sums per pixel
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avatar.driving import OwnDriving, drivers_of
from avatar.eye_balls import STRAIGHT
from avatar.hand_rig import HandRig
from avatar.head_code import HeadCode
from avatar.head_mesh import HeadMesh
from avatar.local_texture import LocalTexture
from avatar.mesh_assembly import MeshAssembly, view_direction
from avatar.mesh_layout import MeshLayout, MeshPiece
from avatar.personal_decoder import open_decoder
from avatar.personal_head import personal_head
from avatar.personal_model import PersonalModel
from avatar.picture_encoder import LEAST_VISIBLE, PictureEncoder
from avatar.strangeness import Acquaintance
from streams.avatar_code import AvatarCode
from streams.closing import Closing
from streams.frame import Frame
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.person_size import of_average_head
from streams.rigid import Rigid
from streams.tracked_state import FacePose, TrackedState
from streams.view import View

Float32 = npt.NDArray[np.float32]

FADE_S = 0.2
"""How long the code takes from driven to encoded and back, so that nothing jumps."""
FARTHEST = 4.0
"""Standard deviations beyond which nobody's blend shapes move an avatar: what its person never did
in the video would be guessed wildly."""
ORIGINS = ("auto", "driven")


class PersonalAvatar(Closing):
    """One person, loaded. Not shared between threads. `encode` remembers the last moment, to fade
    between encoding and driving; the same sequence of states and frames gives the same bytes."""

    def __init__(
        self,
        model: PersonalModel,
        avatar_id: str,
        origin: str = "auto",
        fade: bool = True,
        engine: str = "numpy",
    ) -> None:
        """`origin`: "auto" encodes where a frame shows this person; "driven" never does. `fade`:
        False for moments that do not follow one another. `engine`: what decodes, one of
        `personal_decoder.ENGINES`."""
        if origin not in ORIGINS:
            raise ValueError(f"PersonalAvatar: expected origin among {ORIGINS}, got {origin!r}")
        self.id = avatar_id
        self.model = model
        self._origin, self._fade = origin, fade
        template = HeadMesh.open("default")
        head = personal_head(template, model)
        self._decoder = open_decoder(engine, model)
        self._encoder = PictureEncoder(template, model)
        self._driving = OwnDriving(model)
        self.basis = model.texture_basis()
        self._texture = LocalTexture(self.basis)
        piece = MeshPiece("head", head.faces, head.uv, head.parts)
        layout = MeshLayout(self.id, head.surface, lit=False)
        self._assembly = MeshAssembly(layout, piece, HandRig.open())
        self._closed = False
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget every moment before, as if just opened: the next one is from somewhere else."""
        model = self.model
        usual = float(model.strangeness[0])
        self._acquaintance = Acquaintance(model.landmark_rest, model.landmark_moves, usual)
        self._seen_share, self._last_t_ns = 0.0, None
        self._told: tuple[Float32, Float32] | None = None  # geometry and appearance

    def close(self) -> None:
        """Decoding and encoding afterwards raise ValueError. May be called twice."""
        self._closed = True

    def encode(self, state: TrackedState, frame: Frame | None = None) -> AvatarCode:
        """The code of what was tracked. With a `frame` that shows this very person it is "encoded"
        (the picture says what the face looks like), otherwise "driven".

        The model was learned with one camera and is of average size. So a person whose head several
        cameras measured is scaled about the frame's camera (without a frame: the world's origin)
        until head and hands fit it, which to that camera looks the same."""
        self._require_open("encode")
        eye = np.zeros(3) if frame is None else frame.camera.world_from_camera.xyz
        state = of_average_head(state, eye)
        face, model = state.face, self.model
        geometry = np.zeros(model.geometry_size, np.float32)
        appearance = np.zeros(model.appearance_size, np.float32)
        share = 0.0
        if face is not None:
            # Somebody else's landmarks say whose face it is; their blend shapes do not.
            is_own = (
                self._acquaintance.is_own(face.landmarks, state.t_ns)
                if self._fade
                else self._acquaintance.is_own_alone(face.landmarks)
            )
            if is_own:
                own, _ = model.landmark_code(face.landmarks)
                geometry, appearance = own, self.expected(face.world_from_head, own, face.gaze)
            else:
                both = drivers_of(face.blendshapes, face.gaze) @ model.any_map
                both = np.clip(both, -FARTHEST, FARTHEST)
                geometry, appearance = np.split(both, [model.geometry_size])
            told = None
            if frame is not None and is_own and self._origin == "auto":
                view = view_direction(face.world_from_head, None)
                exact = self._encoder.registered(frame, face, geometry, view, appearance)
                seen, visible = self._encoder.appearance(frame, face, exact, view, appearance)
                if visible >= LEAST_VISIBLE:
                    told = exact - geometry, seen - appearance
            self._seen_share = self._moved(self._seen_share, told is not None, state.t_ns, FADE_S)
            share, self._last_t_ns = self._seen_share, state.t_ns
            # Where the picture goes, what it last told beyond the driven code and
            # the tracked shape fades away.
            if told is not None:
                self._told = told
            elif not is_own:
                self._told = None
            if self._told is not None:
                geometry = geometry + np.float32(share) * self._told[0]
                appearance = appearance + np.float32(share) * self._told[1]
        else:
            self._told = None
            self._acquaintance.forget()
            self._seen_share, self._last_t_ns = 0.0, None
        return AvatarCode(
            t_ns=state.t_ns,
            avatar=self.id,
            geometry=np.ascontiguousarray(geometry, np.float32),
            appearance=np.ascontiguousarray(appearance, np.float32),
            gaze=STRAIGHT if face is None else face.gaze,
            world_from_head=None if face is None else face.world_from_head,
            hands=state.hands,
            origin="encoded" if share > 0.5 else "driven",
        )

    def weights(self) -> tuple[Float32, Float32]:
        """(P,) and (A,): squared error, in code values, of one unit of each number."""
        size = self.model.geometry_size
        return self.model.distortion[:size], self.model.distortion[size:]

    def expected(self, pose: Rigid, geometry: Float32, gaze: Float32) -> Float32:
        """(A,) the appearance that this person has with such a `world_from_head`, geometry (P,) and
        gaze (2, 3), as far as these tell it."""
        return self._driving.appearance(pose, geometry, gaze)

    def decode(self, code: AvatarCode, view: View | None = None) -> MeshTexture:
        """Vertices, normals and the whole texture, in the world. `view` says from where it is seen
        (default: from the world's origin, where a webcam stands)."""
        nodes = self.decode_nodes(code, view)
        picture = self._texture.picture(nodes.nodes, nodes.gain)
        return MeshTexture(nodes.t_ns, nodes.topology, nodes.vertices, nodes.normals, picture)

    def decode_nodes(self, code: AvatarCode, view: View | None = None) -> MeshNodes:
        """As `decode`, with the texture left for the fragment shader to sum."""
        self._require_open("decode")
        self._require_own(code)
        model, pose = self.model, code.world_from_head
        if pose is None:
            head, ahead = None, np.array([0.0, 0.0, 1.0], np.float32)
            nodes, gain = model.nodes(code.appearance, ahead), model.gain(code.appearance)
        else:
            towards = view_direction(pose, view)
            decoded = self._decoder.decode(
                HeadCode(code.geometry, code.appearance, code.gaze, pose, towards)
            )
            head = decoded.vertices, decoded.normals
            nodes, gain = decoded.nodes, decoded.gain
        topology, vertices, normals = self._assembly.join(head, code.hands, pose)
        return MeshNodes(code.t_ns, topology, vertices, normals, self.basis, nodes, gain)

    def _moved(self, share: float, on: bool, t_ns: int, whole_s: float) -> float:
        """`share` on its way to 1 or 0, which takes `whole_s`; there at once at the beginning."""
        wanted = 1.0 if on else 0.0
        if self._last_t_ns is None or not self._fade:
            return wanted
        step = max(0, t_ns - self._last_t_ns) / (whole_s * 1e9)
        return share + float(np.clip(wanted - share, -step, step))

    def _require_open(self, verb: str) -> None:
        if self._closed:
            raise ValueError(f"PersonalAvatar.{verb}: this avatar is closed; open it again")

    def _require_own(self, code: AvatarCode) -> None:
        if code.avatar != self.id:
            raise ValueError(
                f"PersonalAvatar.decode: expected a code of {self.id!r}, got one of {code.avatar!r}"
            )
        sizes = (("geometry", self.model.geometry_size), ("appearance", self.model.appearance_size))
        for name, size in sizes:
            got = len(getattr(code, name))
            if got != size:
                raise ValueError(f"PersonalAvatar.decode: expected {size} {name}, got {got}")


def resting_state(t_ns: int, world_from_head: Rigid) -> TrackedState:
    """A calm face that looks ahead, with no landmarks of anybody: drives an avatar to rest."""
    face = FacePose(
        np.zeros(52, np.float32), np.zeros((478, 3), np.float32), STRAIGHT, world_from_head, 1.0
    )
    return TrackedState(t_ns, "rest", face)
