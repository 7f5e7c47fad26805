"""A headset at a USB cable: `adb reverse` makes its localhost lead here.

The Android Debug Bridge forwards the headset's port through the cable, so the page comes from
http://localhost, which browsers trust without any certificate (W3C Secure Contexts, section 3.1).
"""

from __future__ import annotations

import shutil
import subprocess

from streams.closing import Closing

TIMEOUT_S = 10.0


class AdbError(RuntimeError):
    """There is no cable connection. The message is one readable line and says what to do."""


class AdbReverse(Closing):
    """Ports of every connected headset that lead to the same ports here, until it is closed."""

    def __init__(self, port: int) -> None:
        """Raises AdbError when adb is missing, or no headset is there or lets us."""
        self._adb, self._port = _find_adb(), port
        self.headsets: list[str] = []
        """Serial numbers."""
        for serial in _serials(_asked(self._adb, "devices")):
            _asked(self._adb, "-s", serial, "reverse", f"tcp:{port}", f"tcp:{port}")
            self.headsets.append(serial)

    def close(self) -> None:
        """Let the headsets' ports go; one that was unplugged has done so itself."""
        headsets, self.headsets = self.headsets, []
        for serial in headsets:
            try:
                _asked(self._adb, "-s", serial, "reverse", "--remove", f"tcp:{self._port}")
            except AdbError:
                pass


def _find_adb() -> str:
    adb = shutil.which("adb")
    if adb is None:
        raise AdbError(
            "--usb needs adb, which is not installed (Debian and Ubuntu: apt install adb; else the "
            "Android SDK Platform-Tools); the headset needs developer mode and a cable"
        )
    return adb


def _serials(listing: str) -> list[str]:
    """Of `adb devices`: a line each with a serial and a state, after a heading."""
    states: dict[str, str] = {}
    for line in listing.splitlines():
        serial, tab, state = line.partition("\t")
        if tab:
            states[serial.strip()] = state.strip()
    ready = [serial for serial, state in states.items() if state == "device"]
    if ready:
        return ready
    if "unauthorized" in states.values():
        raise AdbError(
            "--usb: the headset does not trust this machine yet; put it on, allow USB debugging "
            "there, and start again"
        )
    if states:
        serial, state = next(iter(states.items()))
        raise AdbError(f"--usb: {serial} is {state}; unplug it and plug it in again")
    raise AdbError(
        "--usb: no headset at a cable; plug it in, turn developer mode on (Quest: in the phone's "
        "app), and start again"
    )


def _asked(adb: str, *arguments: str) -> str:
    """What adb prints. Raises AdbError."""
    try:
        done = subprocess.run(
            [adb, *arguments], capture_output=True, text=True, errors="replace",
            stdin=subprocess.DEVNULL, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise AdbError(f"--usb: adb did not answer within {TIMEOUT_S:g} s") from error
    except OSError as error:
        raise AdbError(f"--usb: {adb} cannot be run ({error.strerror})") from error
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split()) or f"code {done.returncode}"
        raise AdbError(f"--usb: adb {' '.join(arguments)} failed: {said}")
    return done.stdout
