"""What `visavis export` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from apps.usage import UsageError, parse_size

TEXTURES = (1024, 2048)
AVATAR_FORMATS = (".glb", ".gltf", ".obj", ".ply", ".onnx")
SESSION_FORMATS = (".mp4", ".rrd", ".glb", ".gltf", ".csv", ".parquet", ".bvh")
SESSION = ".mcap"
SEAMS = ("frames", "state", "code")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is written, as what, and which part of it."""

    what: tyro.conf.Positional[str]
    """A recorded session, TALK.mcap; or an avatar: default, amara, mei, walter, the name of an
    enrolled one, or a .visavis file."""
    out: Path
    """Of an avatar: FILE.glb or FILE.gltf (blend shapes, texture, eyes that turn), FILE.obj (calm
    face and texture), FILE.ply (calm face, a colour a vertex), FILE.onnx (the decoder). Of a
    session: FILE.mp4, FILE.rrd, FILE.glb or FILE.gltf (animated), FILE.csv or FILE.parquet (a row a
    moment), FILE.bvh (FILE-left.bvh and FILE-right.bvh)."""
    texture: int = 1024
    """Texels on a side in glTF, OBJ and PLY: 1024, or 2048 for programs that want it (enlarged: no
    more detail)."""

    half: bool = False
    """For .onnx: weights of half precision, in half the space."""

    avatar: str | None = None
    """Of a session: who is drawn or animated; by default whose codes were recorded."""
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """What .mp4 shows: frames (as the camera saw it), or the avatar drawn from state or code. What
    the avatar in .rrd is decoded from: state, code, or frames for no avatar."""
    camera: str | None = None
    """Of a session of several cameras: which one; by default the first."""
    size: str | None = None
    """For .mp4 with an avatar: WIDTHxHEIGHT; by default the camera's, at most 1280 on a side."""
    start: float | None = None
    """Of a session: begin so many seconds after its start."""
    end: float | None = None
    """Of a session: stop so many seconds after its start."""
    landmarks: bool = False
    """For .csv and .parquet: the face's 478 landmarks, too."""
    fps: float | None = None
    """For .bvh: frames a second (BVH has one rate); by default what was recorded."""
    key_file: Path | None = None
    """File with the secret of a sealed session."""

    def wanted_size(self) -> tuple[int, int] | None:
        """What --size says. Raises UsageError."""
        return None if self.size is None else parse_size(self.size)

    def check(self, is_session: bool, ending: str) -> None:
        """Raise UsageError for options that make no sense, before anything is loaded."""
        formats = SESSION_FORMATS if is_session else AVATAR_FORMATS
        if ending not in formats:
            hint = ""
            if not is_session and ending in SESSION_FORMATS:
                hint = f" for an avatar ({ending} is for a session, TALK{SESSION})"
            elif is_session and ending in AVATAR_FORMATS:
                hint = f" for a session ({ending} is for an avatar)"
            raise UsageError(
                f"--out {self.out}: expected a name that ends in {_listed(formats)}{hint}"
            )
        if self.texture not in TEXTURES:
            raise UsageError(f"--texture {self.texture}: expected {_listed(TEXTURES)}")
        if self.half and ending != ".onnx":
            raise UsageError(f"--half: expected with a name that ends in .onnx, got {self.out}")
        if not is_session:
            for name in ("avatar", "from_", "camera", "size", "start", "end", "fps", "key_file"):
                if getattr(self, name) is not None:
                    option = name.rstrip("_").replace("_", "-")
                    raise UsageError(f"--{option}: is for a session (TALK{SESSION})")
        if self.from_ is not None and (self.from_ not in SEAMS or ending not in (".mp4", ".rrd")):
            raise UsageError(f"--from {self.from_}: expected {_listed(SEAMS)}, with .mp4 or .rrd")
        if self.from_ == "frames" and self.avatar is not None and ending == ".mp4":
            raise UsageError("--from frames shows what the camera saw; leave --avatar away")
        if self.landmarks and ending not in (".csv", ".parquet"):
            raise UsageError("--landmarks: expected with .csv or .parquet")
        if self.fps is not None and (ending != ".bvh" or not 1.0 <= self.fps <= 1000.0):
            raise UsageError(f"--fps {self.fps:g}: expected 1 to 1000, with .bvh")
        start, end = self.start or 0.0, self.end
        if start < 0 or (end is not None and end <= start):
            raise UsageError("--start, --end: expected 0 or more seconds, the end after the start")
        self.wanted_size()


def _listed(choices: tuple[object, ...]) -> str:
    return " or ".join(", ".join(str(c) for c in choices).rsplit(", ", 1))
