"""`visavis measure-hands`: the bones of your hands, so that tracked hands are yours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.usage import FailedError, UsageError

if TYPE_CHECKING:
    from tracking.hand_measuring import HandMeasuring, MeasuredHand

TELL = (
    "Hold up your hands, fingers spread, then turn and close them slowly, for {seconds:g} seconds."
)


@dataclass(frozen=True, slots=True)
class MeasureHands:
    """Measure your hands in front of the camera, a few seconds, and keep them: from then on
    `preview` tracks hands with your bones, which keep their lengths."""

    source: str = "webcam:0"
    """webcam:NUMBER, video:PATH, session:PATH or synthetic:SCENE."""
    seconds: float = 8.0
    """How long to look."""
    length_mm: float | None = None
    """Measured with a ruler: from the crease of the wrist to the tip of the straight middle finger.
    Without it the size is an average adult's: one camera sees proportions only."""
    beside_face: bool = False
    """Instead of a ruler: the hands are held beside the face, as far from the camera as it is. Then
    the size is as right as that of an average head."""
    fov_deg: float | None = None
    """The camera's angle of view along the longer side of its picture."""
    mirrored: bool = False
    """The source delivers mirror images, as some "selfie" cameras do."""
    forget: bool = False
    """Remove what was kept and measure nothing."""

    def run(self) -> int:
        """0 when a hand was measured; raises what went wrong otherwise."""
        from apps.own_hands import keep_own_hands, own_hands, own_hands_path

        if self.forget:
            own_hands_path().unlink(missing_ok=True)
            print("forgotten; hands are of average size again")
            return 0
        if not self.seconds > 0:
            raise UsageError(f"--seconds {self.seconds:g}: expected more than 0")
        if self.length_mm is not None and not 120.0 <= self.length_mm <= 250.0:
            raise UsageError(f"--length-mm {self.length_mm:g}: expected 120 to 250")
        if self.length_mm is not None and self.beside_face:
            raise UsageError("--length-mm and --beside-face: expected one, got both")
        if self.fov_deg is not None and not 5.0 <= self.fov_deg <= 170.0:
            raise UsageError(f"--fov-deg {self.fov_deg:g}: expected 5 to 170 degrees")
        length = None if self.length_mm is None else self.length_mm / 1000.0
        measured: list[MeasuredHand] = []
        complaints: list[str] = []
        for measuring in self._collected():
            try:
                measured.append(measuring.finish(length))
            except ValueError as error:
                complaints.append(f"{error}")
        if not measured:
            raise FailedError(complaints[0])
        users = {user.side: user for user in own_hands()}
        for hand in measured:
            users[hand.user.side] = hand.user
            print(_told(hand))
        # Two hands of one person are alike: one stands for the other until that is measured.
        if len(users) == 1:
            (user,) = users.values()
            other = user.mirrored()
            users[other.side] = other
            print(f"{other.side} hand: not seen for long enough; taken as the other's mirror image")
        print(f"kept in {keep_own_hands(list(users.values()))}")
        return 0

    def _collected(self) -> list[HandMeasuring]:
        from apps.sources import camera_options, open_any
        from streams.tracked_state import SIDES
        from tracking.hand_measuring import HandMeasuring
        from tracking.hand_view import HandView
        from tracking.tracker import Tracker, TrackerOptions

        measurings = {side: HandMeasuring(side) for side in SIDES}
        # As the network sees them, not as bones that are still unknown.
        options = TrackerOptions(faces=1 if self.beside_face else 0, hand_fit=False)
        print(TELL.format(seconds=self.seconds), flush=True)
        asked = camera_options(self.fov_deg, self.mirrored)
        with open_any(self.source, asked) as source, Tracker.open(options) as tracker:
            first = None
            for frame in source:
                first = frame.t_ns if first is None else first
                if frame.t_ns - first > self.seconds * 1e9:
                    break
                state = tracker.track(frame)
                distance = None
                if self.beside_face:
                    if state.face is None:
                        continue
                    head = frame.camera.world_from_camera.inverse() @ state.face.world_from_head
                    distance = float(head.xyz[2])
                for hand in state.hands:
                    measurings[hand.side].add([HandView.of_pose(frame.camera, hand)], distance)
        return list(measurings.values())


def _told(hand: MeasuredHand) -> str:
    from tracking.hand_measuring import hand_length

    source = {
        "views": "seen by several cameras",
        "length": "as you measured it",
        "distance": "from the distance of your face",
        "average": "the size is an average adult's; --length-mm makes it yours",
    }[hand.size_from]
    return (
        f"{hand.user.side} hand: {hand_length(hand.user) * 1000:.0f} mm from wrist to finger tip, "
        f"{source}; {hand.moments} pictures, misfit {hand.error_before:.1f} -> "
        f"{hand.error_after:.1f} pixels"
    )
