"""Clips of HOT3D and of the Multiview Egocentric Hand Tracking Challenge: one tar a sequence.

For every picture `NNNNNN` of a stream S there are (hand_tracking_toolkit, dataset.py)
`NNNNNN.image_S.jpg`, `NNNNNN.cameras.json` (by stream: the calibration and T_world_from_camera)
and, where labels are published, `NNNNNN.hands.json` (by side: T_world_from_wrist and 20 joint
angles of UmeTrack's hand model), and once `__hand_shapes.json__` with that model. Lengths are
metres but for the model's, which are millimetres. Pictures have no times in this layout: 30 a
second are taken.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from capture.frame_source import SourceError
from capture.hand_clip import HandClip, HandMoment, rigid_of
from capture.umetrack_hand import UmeTrackHand, in_mediapipes_order
from streams.camera import Camera, Distortion
from streams.frame import Frame
from streams.tracked_state import SIDES

Array = npt.NDArray[np.float64]

SHAPES = "__hand_shapes.json__"
STEP_NS = 1_000_000_000 // 30
LARGEST_MEMBER = 64 << 20
"""Bytes; a file in the tar beyond this is none of the layout's."""


class ChallengeClip(HandClip):
    """Iterate for the moments, in the order of their numbers."""

    def __init__(self, path: Path) -> None:
        """Raises SourceError when the tar cannot be read or holds no pictures with cameras."""
        self.path = path
        try:
            self._tar = tarfile.open(path, "r:")  # noqa: SIM115 (closed by `close`)
            members = {member.name: member for member in self._tar.getmembers()}
        except (OSError, tarfile.TarError) as error:
            raise SourceError(f"{path}: not a tar that can be read ({error})") from error
        self._members = {name.removeprefix("./"): member for name, member in members.items()}
        self._numbers = sorted(
            name.removesuffix(".cameras.json")
            for name in self._members
            if name.endswith(".cameras.json")
        )
        try:
            if not self._numbers:
                raise SourceError(f"{path}: expected NNNNNN.cameras.json in it, found none")
            self._hand = None
            if SHAPES in self._members:
                self._hand = UmeTrackHand.of(self._json(SHAPES)["umetrack"])
        except (KeyError, TypeError, ValueError) as error:
            self.close()
            raise SourceError(f"{path}: {SHAPES} holds no hand model ({error})") from error
        except SourceError:
            self.close()
            raise

    def __iter__(self) -> Iterator[HandMoment]:
        for number in self._numbers:
            try:
                yield self._moment(number)
            except (KeyError, TypeError, ValueError, UnidentifiedImageError) as error:
                raise SourceError(
                    f"{self.path}: moment {number} is not as the layout says ({error!r})"
                ) from error

    def close(self) -> None:
        """Close the file."""
        self._tar.close()

    def _moment(self, number: str) -> HandMoment:
        seq = int(number.rpartition("/")[2])
        frames: list[Frame] = []
        for stream, entry in sorted(self._json(f"{number}.cameras.json").items()):
            name = f"{number}.image_{stream}.jpg"
            if name not in self._members:
                continue  # a stream that this copy left out
            camera = camera_of(stream, entry)
            with Image.open(io.BytesIO(self._bytes(name))) as picture:
                rgb = np.array(picture.convert("RGB"))
            frames.append(Frame(seq * STEP_NS, seq, camera, rgb))
        if not frames:
            raise ValueError("no pictures")
        truth: dict[str, Array] = {}
        if self._hand is not None and f"{number}.hands.json" in self._members:
            hands = self._json(f"{number}.hands.json")
            for side in SIDES:
                pose = (hands.get(side) or {}).get("umetrack_pose")
                if pose is not None:
                    place = rigid_of(pose["T_world_from_wrist"]).matrix()
                    angles = np.array(pose["joint_angles"], np.float64)
                    landmarks = self._hand.posed(angles[None], place[None], side)[0]
                    truth[side] = in_mediapipes_order(landmarks)
        return HandMoment(tuple(frames), truth)

    def _json(self, name: str) -> Any:
        return json.loads(self._bytes(name))

    def _bytes(self, name: str) -> bytes:
        member = self._members[name]
        if member.size > LARGEST_MEMBER:
            raise ValueError(f"{name}: {member.size >> 20} MiB; expected a picture or labels")
        file = self._tar.extractfile(member)
        if file is None:
            raise ValueError(f"{name}: expected a file")
        with file:
            return file.read()


def camera_of(stream: str, entry: dict[str, Any]) -> Camera:
    """From an entry of `cameras.json`. Raises ValueError for a camera model that is not known."""
    calibration = entry["calibration"]
    numbers = [float(n) for n in calibration["projection_params"]]
    model = str(calibration["projection_model_type"]).rpartition(".")[2]
    if model == "FISHEYE624" and len(numbers) == 15:
        numbers = [numbers[0], *numbers]  # Aria's has one focal length
    fx, fy, cx, cy, *k = numbers
    if model in ("FISHEYE624", "OculusVisionFishEye624"):
        lens = Distortion("fisheye624", tuple(k))
    elif model == "OculusVisionFishEye62":
        k1, k2, k3, k4, p1, p2, k5, k6 = k
        lens = Distortion("fisheye62", (k1, k2, k3, k4, k5, k6, p1, p2))
    elif model == "OpenCV":
        k1, k2, k3, p1, p2 = k
        lens = Distortion("pinhole_brown", (k1, k2, p1, p2, k3))
    elif model == "PinholePlane":
        lens = Distortion()
    else:
        raise ValueError(f"camera model {model!r} is not known")
    size = int(calibration["image_width"]), int(calibration["image_height"])
    return Camera(
        f"{calibration.get('label', 'camera')} {stream}", size, np.array([fx, fy]),
        np.array([cx, cy]), lens, rigid_of(entry["T_world_from_camera"]),
    )  # fmt: skip
