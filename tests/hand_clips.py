"""Clips in the published layouts, drawn with our own hands: UmeTrack's and the challenge's."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from apps.video_writer import VideoWriter
from avatar.hand_rig import HandRig
from benchmarks.rendered_hands import Artist, OwnHand, looking, placed
from capture.umetrack_hand import MEDIAPIPE_FROM_UMETRACK, UmeTrackHand
from streams.camera import Camera, Distortion
from streams.hand_skeleton import FINGER_JOINTS, HandParts
from streams.rigid import Rigid

FPS = 30.0
UMETRACK_FROM_MEDIAPIPE = np.array(
    [4, 8, 12, 16, 20, 0, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19, 9]
)
"""MediaPipe's joint for each of UmeTrack's landmarks (its last, the palm's middle, is near 9)."""
RADIAL, TANGENTIAL = (-0.02, 0.05, -0.03, 0.005, 0.001, -2e-4), (1e-3, -1e-3)


def hand_model() -> dict[str, Any]:
    """Our left hand as UmeTrack would write it down: millimetres, four hinges a finger."""
    joints = HandRig.open().rest_joints("left").astype(np.float64)
    parts = HandParts.of(joints[None], ("left",))
    turns = parts.rotations()[0]
    axes, places = np.zeros((22, 3)), np.zeros((22, 3))
    for finger in range(5):
        base, *rest = FINGER_JOINTS[finger, :3]
        # Spread about the bone's up, then three bends about its hinge.
        axes[4 * finger] = turns[finger, 0, :, 1]
        axes[4 * finger + 1 : 4 * finger + 4] = turns[finger, :, :, 0] * -1.0
        places[4 * finger : 4 * finger + 2] = joints[base]
        places[4 * finger + 2 : 4 * finger + 4] = joints[rest]
    axes[20:], places[20:] = [1.0, 0.0, 0.0], joints[0]
    bones = np.zeros((21, 3))
    weights = np.zeros((21, 3))
    weights[:, 0] = 1.0
    for landmark, joint in enumerate(UMETRACK_FROM_MEDIAPIPE):
        finger, k = divmod(int(joint) - 1, 4)
        # A joint rides on the bone before it; the wrist and the knuckles on the wrist's.
        bones[landmark, 0] = 1 if joint == 0 or k == 0 else 2 + 3 * finger + k - 1
    return {
        "joint_rotation_axes": axes.tolist(),
        "joint_rest_positions": (1e3 * places).tolist(),
        "landmark_rest_positions": (1e3 * joints[UMETRACK_FROM_MEDIAPIPE]).tolist(),
        "landmark_rest_bone_indices": bones.tolist(),
        "landmark_rest_bone_weights": weights.tolist(),
        "hand_scale": 1.0,
    }


@dataclass(frozen=True)
class Scene:
    """What both layouts tell of one motion."""

    cameras: tuple[Camera, ...]
    angles: np.ndarray
    """(T, 2, 22), left hand first."""
    world_from_wrist: np.ndarray
    """(T, 2, 4, 4) metres."""
    joints: np.ndarray
    """(T, 2, 21, 3) metres, MediaPipe's order: what is drawn."""


def scene(moments: int, model: str) -> Scene:
    """Two hands that bend a little and move along, seen by four fisheyes of a headset."""
    lens = Distortion(
        model, (*RADIAL, *TANGENTIAL, *((5e-4, 0.0, -5e-4, 0.0) if model == "fisheye624" else ()))
    )
    cameras = tuple(
        replace(looking(f"c{k}", place, (320, 240), 140.0), distortion=lens)
        for k, place in enumerate(
            [(-0.09, 0.05, 0.0), (0.09, 0.05, 0.0), (-0.06, -0.06, 0.0), (0.06, -0.06, 0.0)]
        )
    )
    hand = UmeTrackHand.of(hand_model())
    angles = np.zeros((moments, 2, 22))
    angles[..., 1:20] = 0.12 + 0.1 * np.sin(np.arange(moments) / 5.0)[:, None, None]
    angles[..., 0:20:4] = 0.03
    upright = placed(0, np.random.default_rng(4))
    places = np.zeros((moments, 2, 4, 4))
    joints = np.zeros((moments, 2, 21, 3))
    for k in range(moments):
        for side, aside in enumerate((-0.10, 0.10)):
            at = Rigid(upright.wxyz, upright.xyz + [aside + 0.002 * k, 0.0, 0.0])
            places[k, side] = at.matrix()
    for side, name in enumerate(("left", "right")):
        landmarks = hand.posed(angles[:, side], places[:, side], name)
        ordered = landmarks[:, np.maximum(MEDIAPIPE_FROM_UMETRACK, 0)]
        base = np.append(hand.hinges[0], 1.0) * ([1, 1, 1, 1] if name == "left" else [-1, 1, 1, 1])
        ordered[:, 1] = (places[:, side] @ base)[:, :3]
        joints[:, side] = ordered
    return Scene(cameras, angles, places, joints)


def drawn(made: Scene) -> list[list[np.ndarray]]:
    """Pictures (H, W, 3) of each moment and camera."""
    moments: list[list[np.ndarray]] = []
    with Artist() as artist, OwnHand(side="left") as left, OwnHand(side="right") as right:
        for joints in made.joints:
            row: list[np.ndarray] = []
            posed = [
                hand.at(each.astype(np.float32))
                for hand, each in zip((left, right), joints, strict=True)
            ]
            for camera in made.cameras:
                one, two = (artist(each.mesh, camera).astype(int) for each in posed)
                nothing = replace(
                    posed[0].mesh,
                    topology=replace(posed[0].mesh.topology, faces=np.zeros((0, 3), np.int32)),
                )
                empty = artist(nothing, camera).astype(int)
                there = np.abs(two - empty).max(-1, keepdims=True) > 3
                row.append(np.where(there, two, one).astype(np.uint8))
            moments.append(row)
    return moments


def write_umetrack(path: Path, moments: int = 8) -> Scene:
    """`path`.mp4 and the .json beside it. The headset is lost in the last moment, and the right
    hand is not labelled in the one before."""
    made = scene(moments, "fisheye62")
    pictures = drawn(made)
    writer = VideoWriter(path, (4 * 320, 240), FPS)
    for k, row in enumerate(pictures):
        grey = np.concatenate(row, axis=1).mean(-1).astype(np.uint8)
        writer.write(np.repeat(grey[:, :, None], 3, axis=2), round(k * 1e9 / FPS))
    writer.close()
    sure = np.ones((moments, 2))
    sure[-1] = 0.0
    sure[-2, 1] = 0.0
    world_from_camera = np.tile(
        np.stack([c.world_from_camera.matrix() for c in made.cameras]), (moments, 1, 1, 1)
    )
    world_from_camera[..., :3, 3] *= 1e3
    world_from_camera[-1] = 0.0
    world_from_wrist = made.world_from_wrist.copy()
    world_from_wrist[..., :3, 3] *= 1e3
    names = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
    cameras = [
        {
            "ImageSizeX": c.size[0], "ImageSizeY": c.size[1], "DistortionModel": "FishEye62",
            "fx": c.focal[0], "fy": c.focal[1], "cx": c.centre[0], "cy": c.centre[1],
            **dict(zip(names, c.distortion.coefficients, strict=True)),
        }
        for c in made.cameras
    ]  # fmt: skip
    labels = {
        "cameras": cameras, "camera_angles": [0.0] * 4, "hand_model": hand_model(),
        "camera_to_world_transforms": world_from_camera.tolist(),
        "joint_angles": made.angles.tolist(), "wrist_transforms": world_from_wrist.tolist(),
        "hand_confidences": sure.tolist(),
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(labels))
    return made


def write_challenge(path: Path, moments: int = 6) -> Scene:
    """A tar as HOT3D's. The left hand is not labelled in the last moment."""
    made = scene(moments, "fisheye624")
    pictures = drawn(made)

    def place(rigid: Rigid) -> dict[str, Any]:
        return {"quaternion_wxyz": rigid.wxyz.tolist(), "translation_xyz": rigid.xyz.tolist()}

    with tarfile.open(path, "w") as tar:

        def put(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))

        shapes = {"mano": [0.0] * 10, "umetrack": hand_model()}
        put("__hand_shapes.json__", json.dumps(shapes).encode())
        for k, row in enumerate(pictures):
            cameras: dict[str, Any] = {}
            for c, (camera, picture) in enumerate(zip(made.cameras, row, strict=True)):
                stream = f"1201-{c + 1}"
                jpeg = io.BytesIO()
                Image.fromarray(picture).convert("L").save(jpeg, "JPEG", quality=95)
                put(f"{k:06}.image_{stream}.jpg", jpeg.getvalue())
                numbers = [*camera.focal, *camera.centre, *camera.distortion.coefficients]
                if c == 0:
                    numbers = numbers[1:]  # as Aria's: one focal length
                cameras[stream] = {
                    "calibration": {
                        "image_width": camera.size[0], "image_height": camera.size[1],
                        "label": "camera-slam", "serial_number": str(c),
                        "projection_model_type": "CameraModelType.FISHEYE624",
                        "projection_params": numbers,
                    },
                    "T_world_from_camera": place(camera.world_from_camera),
                }  # fmt: skip
            put(f"{k:06}.cameras.json", json.dumps(cameras).encode())
            hands: dict[str, Any] = {}
            for s, side in enumerate(("left", "right")):
                pose = {
                    "T_world_from_wrist": place(Rigid.from_matrix(made.world_from_wrist[k, s])),
                    "joint_angles": made.angles[k, s, :20].tolist(),
                }
                hands[side] = {"umetrack_pose": pose}
            if k == moments - 1:
                hands["left"] = None
            put(f"{k:06}.hands.json", json.dumps(hands).encode())
    return made
