"""Scenes for the page in the headset's browser, and the small server that a test opens it from."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.page_shaders import page_shaders
from avatar.codec import Avatar
from benchmarks.portraits import portrait
from headset.webxr.page_files import PageFiles
from streams.mesh_nodes import MeshNodes
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.rigid import Rigid
from streams.texture_basis import TextureBasis
from streams.topology import Topology

WORKER = Path(__file__).parent / "webxr" / "worker.js"
POLICY = "default-src 'self'"
Message = dict[str, Any]


def rgba_picture(picture: npt.NDArray[np.uint8]) -> Message:
    height, width, channels = picture.shape
    rgba = np.full((height, width, 4), 255, np.uint8)
    rgba[..., :channels] = picture
    return {"width": width, "height": height, "rgba": rgba.ravel()}


def topology_message(topology: Topology, basis: TextureBasis | None = None, person=0) -> Message:
    height, width = topology.surface.shape[:2]
    message = {
        "type": "topology", "person": person, "id": topology.name, "lit": topology.lit,
        "faces": topology.faces.astype(np.uint32).ravel(), "uv": topology.uv.ravel(),
        "parts": topology.parts,
        "surface": {"width": width, "height": height, "rgba": topology.surface.ravel()},
    }  # fmt: skip
    if basis is not None:
        count, rows, columns = basis.planes.shape[:3]
        message["basis"] = {
            "mean": {
                "width": basis.mean.shape[1], "height": basis.mean.shape[0],
                "rgb": basis.mean.ravel(),
            },
            "planes": {
                "count": count, "width": columns, "height": rows, "values": basis.planes.ravel(),
            },
            "scale": basis.scale, "grid": list(basis.grid), "space": basis.space,
        }  # fmt: skip
    return message


def avatar_message(mesh: MeshTexture | MeshNodes, frame_id: int = 1, person: int = 0) -> Message:
    if isinstance(mesh, MeshNodes):
        texture: Message = {"kind": "nodes", "nodes": mesh.nodes.ravel(), "gain": mesh.gain}
    else:
        texture = {"kind": "image", "image": rgba_picture(mesh.albedo)}
    return {
        "type": "avatar", "person": person, "frameId": frame_id, "tMs": mesh.t_ns / 1e6,
        "id": mesh.topology.name, "vertices": mesh.vertices.ravel(),
        "normals": mesh.normals.ravel(), "texture": texture,
    }  # fmt: skip


def rigid_message(rigid: Rigid) -> Message:
    return {"wxyz": rigid.wxyz.tolist(), "xyz": rigid.xyz.tolist()}


def panel_message(panel: Panel) -> Message:
    return {
        "type": "panel", "id": panel.id, "anchor": panel.anchor,
        "anchorFromPanel": rigid_message(panel.anchor_from_panel), "sizeM": list(panel.size_m),
        "generatedBy": panel.generated_by, "image": rgba_picture(panel.rgba),
    }  # fmt: skip


def link_message(state: str = "open") -> Message:
    """What the worker tells about twice a second."""
    return {
        "type": "link", "state": state, "rateHz": 30.0, "ageMs": 41.0, "kbitS": 2300.0,
        "lossShare": 0.004, "clock": {"offsetMs": 12.0, "boundMs": 0.8}, "payload": "geometry",
        "stageMs": {"Encode": 3.6, "Network": 4.2, "Decode": 5.1},
    }  # fmt: skip


def packed(messages: list[Message]) -> tuple[bytes, bytes]:
    """The JSON and the binary file of a scene."""
    blob = bytearray()

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            blob.extend(bytes(-len(blob) % 4))
            data = np.ascontiguousarray(value)
            place = [data.dtype.name, len(blob), data.size]
            blob.extend(data.tobytes())
            return {"array": place}
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value

    return json.dumps([plain(message) for message in messages]).encode(), bytes(blob)


class PageServer:
    """The page's files, scenes, and a place where the page's messages end. On localhost, which is
    a secure context also without TLS."""

    def __init__(self) -> None:
        self.scenes: dict[str, tuple[bytes, bytes]] = {}
        self.posted: list[Message] = []
        self.missing: list[str] = []
        more = page_shaders() | {"/worker.js": (WORKER.read_bytes(), "text/javascript")}
        self.files = PageFiles(more)
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                server.posted.extend(json.loads(data))
                send(self, 200, b"", "text/plain")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._http = _Http(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self._http.server_address[1]}/"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def add_scene(self, name: str, messages: list[Message]) -> None:
        self.scenes[name] = packed(messages)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.split("?")[0]
        if path.startswith("/scene/"):
            name, ending = path.removeprefix("/scene/").split(".")
            send(request, 200, self.scenes[name][ending == "bin"], "application/octet-stream")
            return
        file = self.files.for_paired(path)
        if file is None:
            self.missing.append(path)
            send(request, 404, b"", "text/plain")
        else:
            send(request, 200, file.body, file.content_type)

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


class _Http(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that is closed in the middle of an answer is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def send(request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.send_header("Content-Security-Policy", POLICY)
    request.send_header("Cache-Control", "no-store")
    request.end_headers()
    request.wfile.write(body)


def posed() -> MeshTexture:
    with Avatar.open("default") as avatar:
        return avatar.rig(portrait(avatar, {"jawOpen": 0.3}, (0.1, 0.0), (0.0, 0.2, 0.0)))


def red_panel(**changes: Any) -> Panel:
    rgba = np.full((64, 96, 4), (255, 0, 0, 255), np.uint8)
    # 12 cm to the left of the avatar's face and nearer to the viewer.
    values: dict[str, Any] = {
        "id": "red", "rgba": rgba, "anchor": "world",
        "anchor_from_panel": Rigid.from_translation([-0.22, 0.05, -0.5]), "size_m": (0.15, 0.1),
    }  # fmt: skip
    return Panel(**(values | changes))


def person_scenes() -> PageServer:
    """A started server. Each page has its own, so that what it posts is its own, too."""
    server = PageServer()
    mesh = posed()
    server.add_scene(
        "person", [link_message(), topology_message(mesh.topology), avatar_message(mesh)]
    )
    server.add_scene("again", [link_message(), avatar_message(mesh, 2)])
    server.add_scene("panel", [panel_message(red_panel())])
    return server
