"""From a frame that is ready to the same frame decoded in a browser, on one machine.

python -m benchmarks.streaming [--seconds 6] [--rounds 3] [--sizes 512 1024] [--fps 30]

Three ways by turns, several rounds, so that what else the machine does hits all: ours (mesh and
H.264 texture in one message, TLS, the page's worker), JPEG pictures over a WebSocket as Vuer and
OpenTeleVision send them, and stock aiortc (VP8). The other two carry the texture only, no mesh.
Each texture has its number painted into it, which is read back from what was decoded. Needs
Chromium, and the extra "bench" for aiortc.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from aiohttp import web

from assets.manifest import asset_path
from avatar.opening import open_avatar
from capture.frame_source import open_source
from headset.webxr.avatar_encoding import AvatarEncoding
from headset.webxr.blob_store import BlobStore
from headset.webxr.certificate import machine_addresses, machine_names, own_certificate
from headset.webxr.client_session import SessionOptions
from headset.webxr.flow_control import LADDER, FlowOptions
from headset.webxr.presentation import Presentation, PresentationOptions
from headset.webxr.scene_blobs import SceneBlobs
from headset.webxr.server import WebXrServer, WebXrServerOptions
from streams.clock import now_ns
from streams.mesh_texture import MeshTexture
from tracking.tracker import Tracker, TrackerOptions

UInt8 = npt.NDArray[np.uint8]
WAYS = ("visavis", "jpeg", "aiortc")
BITS = 16
FOREVER = 10**18
JPEG_QUALITY = 80
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--allow-loopback-in-peer-connection", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
SCRIPT = Path(__file__).with_name("streaming_page.js")
SETTLE_S = 2.0


@dataclass
class Way:
    """One of the ways, running: `show(mesh, number)` is called with each frame that is ready."""

    name: str
    show: Callable[[MeshTexture, int], None]
    page: Any
    bytes_sent: Callable[[], int]
    latencies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    kbit_s: list[float] = field(default_factory=list)


def clip_meshes(size: int, count: int) -> list[MeshTexture]:
    """The shipped clip's person by the shipped avatar, textures of that size."""
    found = []
    with (
        Tracker.open(TrackerOptions()) as tracker,
        open_source(f"video:{asset_path('clips/demo')}") as source,
        open_avatar("default") as avatar,
    ):
        for _, frame in zip(range(count), source, strict=False):
            mesh = avatar.decode(avatar.encode(tracker.track(frame), frame))
            albedo = cv2.resize(mesh.albedo, (size, size), interpolation=cv2.INTER_AREA)
            picture = np.asarray(albedo, np.uint8)
            found.append(MeshTexture(0, mesh.topology, mesh.vertices, mesh.normals, picture))
    return found


def numbered(picture: UInt8, number: int) -> UInt8:
    """With the number in its first rows."""
    out, side = picture.copy(), picture.shape[1] // BITS
    for bit in range(BITS):
        out[:side, bit * side : (bit + 1) * side] = 255 * (number >> bit & 1)
    return out


class OtherWays:
    """A plain server on loopback for JPEG and aiortc, in a thread of its own."""

    def __init__(self) -> None:
        self.port = 0
        self.sent = {"jpeg": 0, "aiortc": 0}
        self.encode_ms: list[float] = []
        self._newest: dict[str, tuple[int, UInt8]] = {}
        self._peers: set[Any] = set()
        self._ready = threading.Event()
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def show(self, way: str, mesh: MeshTexture, number: int) -> None:
        self._newest[way] = (number, mesh.albedo)
        self._loop.call_soon_threadsafe(self._changed.set)

    def close(self) -> None:
        assert self._end is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(5)

    async def _run(self) -> None:
        self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()
        self._end = asyncio.Event()
        app = web.Application()
        app.router.add_get("/page/{way}", self._front)
        app.router.add_get("/streaming_page.js", self._script)
        app.router.add_get("/jpeg", self._jpeg)
        app.router.add_post("/offer", self._offer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._end.wait()
        await asyncio.gather(*(peer.close() for peer in self._peers))
        await runner.cleanup()

    async def _front(self, request: web.Request) -> web.Response:
        return web.Response(body=front(request.match_info["way"]), content_type="text/html")

    async def _script(self, _request: web.Request) -> web.Response:
        return web.Response(body=SCRIPT.read_bytes(), content_type="text/javascript")

    async def _next(self, way: str, last: int) -> tuple[int, UInt8]:
        while True:
            found = self._newest.get(way)
            if found is not None and found[0] != last:
                return found
            self._changed.clear()
            await self._changed.wait()

    async def _jpeg(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        last = -1
        while not socket.closed:
            last, picture = await self._next("jpeg", last)
            started = time.perf_counter()
            data = await self._loop.run_in_executor(None, jpeg, picture)
            self.encode_ms.append(1e3 * (time.perf_counter() - started))
            self.sent["jpeg"] += len(data)
            try:
                await socket.send_bytes(last.to_bytes(4, "little") + data)
            except ConnectionError:
                break
        return socket

    async def _offer(self, request: web.Request) -> web.Response:
        import aioice.ice  # pyright: ignore[reportMissingImports]
        from aiortc import (  # pyright: ignore[reportMissingImports]
            RTCPeerConnection,
            RTCSessionDescription,
            VideoStreamTrack,
        )
        from av.video.frame import VideoFrame

        aioice.ice.get_host_addresses = lambda **_kind: ["127.0.0.1"]
        ways, peer = self, RTCPeerConnection()

        class Newest(VideoStreamTrack):
            async def recv(self) -> Any:
                self.last, picture = await ways._next("aiortc", getattr(self, "last", -1))
                frame = VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = await self.next_timestamp()
                return frame

        peer.addTrack(Newest())
        self._peers.add(peer)
        await peer.setRemoteDescription(RTCSessionDescription(**await request.json()))
        await peer.setLocalDescription(await peer.createAnswer())
        self._loop.create_task(self._count(peer))
        local = peer.localDescription
        return web.json_response({"sdp": local.sdp, "type": local.type})

    async def _count(self, peer: Any) -> None:
        while peer.connectionState != "closed":
            for report in (await peer.getStats()).values():
                if report.type == "outbound-rtp":
                    self.sent["aiortc"] = report.bytesSent
            await asyncio.sleep(0.2)


def jpeg(picture: UInt8) -> bytes:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def front(way: str) -> bytes:
    script = '<script type="module" src="/streaming_page.js"></script>'
    return f"<!DOCTYPE html><title>{way}</title>{script}".encode()


def feed(way: Way, meshes: list[MeshTexture], seconds: float, fps: float) -> None:
    """Show frames at that rate, and note when the page had decoded which."""
    way.page.evaluate("decoded.length = 0")
    ready: dict[int, float] = {}
    sent, started = way.bytes_sent(), time.perf_counter()
    for k in range(round(seconds * fps)):
        wait = started + k / fps - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        mesh, number = meshes[k % len(meshes)], 1 + k
        picture = numbered(mesh.albedo, number)
        mesh = MeshTexture(now_ns(), mesh.topology, mesh.vertices, mesh.normals, picture)
        ready[number] = 1e3 * time.time()
        way.show(mesh, number)
    took = time.perf_counter() - started
    time.sleep(0.3)
    come = way.page.evaluate("decoded")
    way.latencies += [f["at"] - ready[f["number"]] for f in come if f["number"] in ready]
    way.rates.append(len(come) / took)
    way.kbit_s.append(8e-3 * (way.bytes_sent() - sent) / took)


def encoding(meshes: list[MeshTexture]) -> dict[str, float]:
    """Medians of our encoders alone: milliseconds and bytes."""
    encoder = AvatarEncoding(SceneBlobs(BlobStore()), 0, True, 4096)
    mesh_ms, all_ms, mesh_bytes, texture_bytes = [], [], [], []
    for k, mesh in enumerate(meshes):
        started = time.perf_counter()
        made = encoder.encode(mesh, k + 1, LADDER[1], k == 0)
        all_ms.append(1e3 * (time.perf_counter() - started))
        if made.new_scene or made.message.key:
            continue
        coder = encoder._mesh
        assert coder is not None
        started = time.perf_counter()
        coder.encode(mesh.vertices, k + 1)
        mesh_ms.append(1e3 * (time.perf_counter() - started))
        mesh_bytes.append(len(made.message.sections[0].data))
        texture_bytes.append(len(made.message.sections[1].data))
    encoder.close()
    return {
        "mesh encode ms": float(np.median(mesh_ms)),
        "mesh and texture encode ms": float(np.median(all_ms)),
        "mesh bytes, mean": float(np.mean(mesh_bytes)),
        "mesh bytes, 95 %": float(np.quantile(mesh_bytes, 0.95)),
        "texture bytes, mean": float(np.mean(texture_bytes)),
    }


@contextlib.contextmanager
def running(names: list[str]) -> Iterator[tuple[dict[str, Way], OtherWays]]:
    """Servers and a browser with one page a way."""
    from playwright.sync_api import sync_playwright

    flow = FlowOptions(congested_ns=FOREVER, stalled_ns=FOREVER, raise_ns=FOREVER)
    blobs, others = BlobStore(), OtherWays()
    presentation = Presentation(blobs, PresentationOptions(SessionOptions(flow=flow)))
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        files = {
            "/index.html": (front("visavis"), "text/html"),
            "/streaming_page.js": (SCRIPT.read_bytes(), "text/javascript"),
        }
        certificate = own_certificate(folder, machine_names(), machine_addresses())
        options = WebXrServerOptions(certificate, folder / "devices", port=0)
        context = playwright.chromium.launch_persistent_context(
            str(folder / "profile"), executable_path=shutil.which("chromium"), headless=True,
            args=list(FLAGS), ignore_https_errors=True,
        )  # fmt: skip
        with WebXrServer(
            options, files, blobs, presentation.serve, log=lambda _line: None
        ) as server:
            ours = f"https://localhost:{server.port}"
            cookie: Any = {
                "name": "__Host-visavis", "value": server.devices.pair("bench")[1], "url": ours,
                "secure": True, "httpOnly": True, "sameSite": "Strict",
            }  # fmt: skip
            context.add_cookies([cookie])
            ways: dict[str, Way] = {}
            for way in names:
                page = context.new_page()
                if way == "visavis":
                    page.goto(ours + "/")
                    show = lambda mesh, _number: presentation.show(mesh)  # noqa: E731
                    sent = lambda: sum(s.bytes_sent for s in presentation.statistics())  # noqa: E731
                else:
                    page.goto(f"http://localhost:{others.port}/page/{way}")
                    show = partial(others.show, way)
                    sent = partial(others.sent.__getitem__, way)
                ways[way] = Way(way, show, page, sent)
            try:
                yield ways, others
            finally:
                context.close()
    presentation.close()
    others.close()


def told(way: Way, size: int, fps: float, others: OtherWays) -> dict[str, Any]:
    """A row of the table."""
    latencies = way.latencies or [np.nan]
    row: dict[str, Any] = {
        "size": size, "fps": fps, "way": way.name,
        "latency ms p10": round(float(np.quantile(latencies, 0.1)), 1),
        "p50": round(float(np.median(latencies)), 1),
        "p95": round(float(np.quantile(latencies, 0.95)), 1),
        "frames a second": round(float(np.median(way.rates)), 1),
        "Mbit/s": round(float(np.median(way.kbit_s)) / 1e3, 2),
        "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    if way.name == "visavis":
        stages = way.page.evaluate("links.at(-1).stageMs")
        row["page's decode ms"] = {stage: round(ms, 2) for stage, ms in stages.items()}
    if way.name == "jpeg":
        row["encode ms"] = round(float(np.median(others.encode_ms)), 2)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options = parser.parse_args()
    for size in options.sizes:
        meshes = clip_meshes(size, 150)
        alone = {key: round(value, 2) for key, value in encoding(meshes).items()}
        print(json.dumps({"size": size, **alone, "load": os.getloadavg()[0]}), flush=True)
        with running(options.ways) as (ways, others):
            # The first round connects, compiles and sends the first keys.
            for seconds in (SETTLE_S, *(options.rounds * [options.seconds])):
                for way in ways.values():
                    way.page.bring_to_front()
                    feed(way, meshes, seconds, options.fps)
                    if seconds is SETTLE_S:
                        for kept in (way.latencies, way.rates, way.kbit_s):
                            kept.clear()
            for way in ways.values():
                print(json.dumps(told(way, size, options.fps, others)), flush=True)


if __name__ == "__main__":
    main()
