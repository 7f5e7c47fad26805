"""`visavis film`: a video of the synthetic person, whose every movement is known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from apps.usage import UsageError, parse_size
from streams.tracked_state import TrackedState


@dataclass(frozen=True, slots=True)
class Film:
    """Film the synthetic person: a test video of which the truth is known (see --truth)."""

    out: tyro.conf.Positional[Path]
    """FILE.mp4 to write."""
    scene: str = "demo"
    """demo, range, still, hands or away."""
    avatar: str = "amara"
    """Who acts: default, amara, mei or walter."""
    size: str = "640x480"
    """WIDTHxHEIGHT of the picture."""
    fps: float = 30.0
    """Pictures a second."""
    fov_deg: float = 56.0
    """The camera's angle of view along the longer side."""
    noise: float = 1.5
    """Sensor noise, standard deviation in 8-bit steps."""
    seconds: float | None = None
    """Stop after so many seconds; by default at the end of the scene."""
    truth: Path | None = None
    """Also write FILE.npz: for each picture the blendshapes, gaze, head pose and hands acted."""

    def run(self) -> int:
        """0 when the film is written."""
        import numpy as np

        from apps.sources import open_synthetic
        from apps.video_writer import VideoWriter, check_writable
        from capture.synthetic import SyntheticOptions
        from streams.camera import Camera

        if self.out.suffix.lower() != ".mp4":
            raise UsageError(f"{self.out}: expected a name that ends in .mp4")
        size = parse_size(self.size)
        check_writable(self.out)
        camera = Camera.from_fov(size, float(np.deg2rad(self.fov_deg)), name="synthetic")
        options = SyntheticOptions(camera=camera, fps=self.fps, noise=self.noise)
        states: list[TrackedState] = []
        with open_synthetic(self.scene, options, self.avatar) as source:
            writer = VideoWriter(self.out, size, self.fps)
            try:
                for frame in source:
                    if self.seconds is not None and frame.t_ns >= self.seconds * 1e9:
                        break
                    writer.write(frame.rgb, frame.t_ns)
                    states.append(source.truth(frame.seq))
            finally:
                writer.close()
        if self.truth is not None:
            _write_truth(self.truth, states)
        print(f"wrote {self.out}: {len(states)} pictures of {self.avatar} acting {self.scene!r}")
        return 0


def _write_truth(path: Path, states: list[TrackedState]) -> None:
    """One row a picture; NaN where there is no face or hand. Units and frames as in streams."""
    import numpy as np

    count = len(states)
    out = {
        "t_ns": np.array([state.t_ns for state in states], np.int64),
        "blendshapes": np.full((count, 52), np.nan, np.float32),
        "gaze": np.full((count, 2, 3), np.nan, np.float32),
        "world_from_head": np.full((count, 4, 4), np.nan),
        "left_joints": np.full((count, 21, 3), np.nan, np.float32),
        "right_joints": np.full((count, 21, 3), np.nan, np.float32),
    }
    for k, state in enumerate(states):
        if state.face is not None:
            out["blendshapes"][k] = state.face.blendshapes
            out["gaze"][k] = state.face.gaze
            out["world_from_head"][k] = state.face.world_from_head.matrix()
        for hand in state.hands:
            out[f"{hand.side}_joints"][k] = hand.joints
    np.savez_compressed(path, **out)
