"""`visavis stream`: a person's avatar in a headset's browser, and the headset's head and hands."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apps.stream_options import StreamOptions, devices_folder
from apps.usage import FailedError

if TYPE_CHECKING:
    from headset.webxr.devices import Devices


@dataclass(frozen=True, slots=True)
class Stream(StreamOptions):
    """Serve the avatar of whoever a source shows to a headset's browser (WebXR), or to any other.
    Only devices that were paired with the PIN in the terminal see it."""

    def run(self) -> int:
        """0 when it streamed until it was to stop; raises what went wrong otherwise."""
        if self.devices or self.revoke is not None:
            self._manage()
            return 0
        self.check()
        from apps.stream_session import run_stream

        run_stream(self)
        return 0

    def _manage(self) -> None:
        from headset.webxr.devices import Devices

        devices = Devices(devices_folder())
        if self.revoke is not None and not devices.revoke(self.revoke):
            names = ", ".join(device.name for device in devices.all()) or "none at all"
            raise FailedError(
                f"--revoke {self.revoke}: no such device is paired; there are: {names}"
            )
        if self.revoke is not None:
            print(f"{self.revoke} is let in no more")
        if self.devices:
            _list(devices)


def _list(devices: Devices) -> None:
    found = devices.all()
    if not found:
        print("no device is paired")
    for device in found:
        paired, seen = (
            time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
            for at in (device.paired_s, device.seen_s)
        )
        print(f"{device.name:40}  paired {paired}  last seen {seen}")
