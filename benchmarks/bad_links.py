"""Streaming over bad links: frames in flight, how old they get, how soon that is over.

python -m benchmarks.bad_links [--seconds 8] [--payloads geometry code datagrams]

Needs root, /dev/net/tun, iproute2 and Chromium: the server runs in one network namespace and the
browser in another, and `emulated_link` carries packets between them. Each of four bad links lasts
for some seconds between two good ones. Payloads: geometry and codes through the WebSocket, codes as
WebTransport datagrams. Prints one line of JSON for each link.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.code_stream import CodeStream
from avatar.opening import open_avatar
from avatar.page_decoder import page_decoder
from benchmarks.emulated_link import EmulatedLink, LinkShape, missing
from benchmarks.streaming import SCRIPT, clip_meshes, front, numbered
from headset.webxr.blob_store import BlobStore
from headset.webxr.certificate import own_certificate
from headset.webxr.datagram_lane import DatagramLanes
from headset.webxr.presentation import Presentation
from headset.webxr.server import WebXrServer, WebXrServerOptions
from streams.clock import now_ns
from streams.mesh_texture import MeshTexture

GOOD = LinkShape(delay_ms=3.0, jitter_ms=1.0, mbit_s=100.0)
LINKS = {
    "3 +- 1 ms, 1 %, 100 Mbit/s": replace(GOOD, loss=0.01),
    "3 % loss": replace(GOOD, loss=0.03),
    "80 ms stalls": replace(GOOD, stall_ms=80.0),
    "1 Mbit/s": replace(GOOD, mbit_s=1.0),
}
FPS = 30.0
BEFORE_S, AFTER_S = 4.0, 4.0
WINDOW_MS = 500.0
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass
class Taken:
    """What was measured while one link was tried."""

    ready: dict[int, float] = field(default_factory=dict)
    """Number of a frame -> ms since 1970 when it was ready."""
    in_flight: list[int] = field(default_factory=list)
    texture: list[tuple[int, int]] = field(default_factory=list)


class Feeder(threading.Thread):
    """Shows the clip, again and again, as a pipeline would."""

    def __init__(self, presentation: Presentation, codes: Any, payload: str, size: int) -> None:
        super().__init__(name="feeder", daemon=True)
        self.taken = Taken()
        self._presentation, self._codes, self._payload = presentation, codes, payload
        self._meshes = clip_meshes(size, 150)
        self._ended = threading.Event()

    def run(self) -> None:
        started, k = time.perf_counter(), 0
        while not self._ended.wait(max(0.0, started + k / FPS - time.perf_counter())):
            mesh, number = self._meshes[k % len(self._meshes)], 1 + k % 65_535
            k += 1
            picture = numbered(mesh.albedo, number)
            at = now_ns()
            self.taken.ready[number] = 1e3 * time.time()
            if self._payload == "geometry":
                self._presentation.show(
                    MeshTexture(at, mesh.topology, mesh.vertices, mesh.normals, picture)
                )
            else:
                self._codes(k, at)
            for statistics in self._presentation.statistics()[:1]:
                self.taken.in_flight.append(statistics.in_flight)
                self.taken.texture.append((statistics.texture_size, statistics.texture_bits_s))

    def end(self) -> None:
        self._ended.set()
        self.join(5)


def try_links(link: EmulatedLink, folder: Path, payload: str, seconds: float) -> None:
    """On the server's side: try every link."""
    from playwright.sync_api import sync_playwright

    browser = folder / "chromium"
    started = shlex.join(link.command("client", [shutil.which("chromium") or "chromium"]))
    browser.write_text(f'#!/bin/sh\nexec {started} "$@"\n')
    browser.chmod(0o755)
    blobs = BlobStore()
    lanes = DatagramLanes(lambda: server.port, lan=True) if payload == "datagrams" else None
    presentation = Presentation(blobs, lanes=lanes)
    files = {
        "/index.html": (front("visavis"), "text/html"),
        "/streaming_page.js": (SCRIPT.read_bytes(), "text/javascript"),
    }
    certificate = own_certificate(folder, ["visavis"], [link.SERVER])
    options = WebXrServerOptions(certificate, folder / "devices", port=0, lan=True)
    codes = None if payload == "geometry" else coded(presentation, blobs)
    feeder = Feeder(presentation, codes, payload, 512)
    server = WebXrServer(options, files, blobs, presentation.serve, log=lambda _line: None)
    with server, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(folder / f"profile-{payload}"), executable_path=str(browser), headless=True,
            args=list(FLAGS), ignore_https_errors=True,
        )  # fmt: skip
        url = f"https://{link.SERVER}:{server.port}"
        cookie: Any = {
            "name": "__Host-visavis", "value": server.devices.pair("bench")[1], "url": url,
            "secure": True, "httpOnly": True, "sameSite": "Strict",
        }  # fmt: skip
        context.add_cookies([cookie])
        page = context.pages[0]
        page.goto(url + "/")
        feeder.start()
        time.sleep(4)
        for name, shape in LINKS.items():
            row = tried(name, shape, link, page, feeder, seconds)
            print(json.dumps({"payload": payload, **row}), flush=True)
        feeder.end()
        context.close()
    presentation.close()


def coded(presentation: Presentation, blobs: BlobStore) -> Any:
    """Shows packets of the clip's person: a function of the moment's number and time."""
    from assets.manifest import asset_path
    from capture.frame_source import open_source
    from tracking.tracker import Tracker, TrackerOptions

    avatar = open_avatar("default")
    with (
        Tracker.open(TrackerOptions()) as tracker,
        open_source(f"video:{asset_path('clips/demo')}") as source,
    ):
        moments = [
            avatar.encode(tracker.track(frame), frame)
            for _, frame in zip(range(150), source, strict=False)
        ]
    presentation.describe_avatar(0, blobs.add(page_decoder(avatar)))
    stream = CodeStream(avatar, presentation.show_code)
    presentation._on_code_key = stream.need_key
    return lambda k, at: stream.take(replace(moments[k % len(moments)], t_ns=at))


def tried(
    name: str, shape: LinkShape, link: EmulatedLink, page: Any, feeder: Feeder, seconds: float
) -> dict[str, Any]:
    """One link between two good ones."""
    feeder.taken.in_flight.clear()
    page.evaluate("decoded.length = 0")
    time.sleep(BEFORE_S)
    began = 1e3 * time.time()
    link.shape(shape)
    time.sleep(seconds)
    ended = 1e3 * time.time()
    texture = feeder.taken.texture[-1]
    lost = round(page.evaluate("links.at(-1).lossShare"), 4)
    link.shape(GOOD)
    time.sleep(AFTER_S)
    frames = page.evaluate("decoded")
    at = np.array([frame["at"] for frame in frames])
    made = [feeder.taken.ready.get(frame["number"]) or frame["tMs"] for frame in frames]
    ages = at - np.array(made)
    usual = float(np.median(ages[at < began]))
    during = (at > began) & (at < ended)
    gaps = np.diff(at[during])
    return {
        "link": name,
        "in flight, most": max(feeder.taken.in_flight),
        "age ms before": round(usual, 1),
        "age ms p50": round(float(np.median(ages[during])), 1) if during.any() else None,
        "p95": round(float(np.quantile(ages[during], 0.95)), 1) if during.any() else None,
        "frames a second": round(float(during.sum()) / seconds, 1),
        "gap ms p95": round(float(np.quantile(gaps, 0.95)), 1) if len(gaps) else None,
        "recovered after ms": recovered(at - ended, ages, usual),
        "texture then": texture,
        "packets lost": lost,
        "by datagram": page.evaluate("links.at(-1).lane"),
        "load": round(os.getloadavg()[0], 1),
    }


def recovered(
    since: npt.NDArray[np.float64], ages: npt.NDArray[np.float64], usual: float
) -> float | None:
    """Milliseconds after the link's return until ages were as usual: half of the frames of half a
    second no more than 30 ms older, at ten a second or more."""
    for start in np.arange(0.0, 1e3 * AFTER_S - WINDOW_MS, 25.0):
        window = ages[(since >= start) & (since < start + WINDOW_MS)]
        if len(window) >= WINDOW_MS / 100.0 and np.median(window) <= usual + 30.0:
            return float(start)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--payloads", nargs="+", default=["geometry", "code", "datagrams"])
    options = parser.parse_args()
    reason = missing()
    if reason is not None:
        sys.exit(f"bad_links: {reason}")
    for payload in options.payloads:
        with (
            tempfile.TemporaryDirectory() as name,
            EmulatedLink(GOOD) as link,
            link.inside("server"),
        ):
            try_links(link, Path(name), payload, options.seconds)


if __name__ == "__main__":
    main()
