"""The page's worker in a real browser, over TLS, on the real server: ids, pictures, losses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import pytest

from headset.webxr.blob_store import BlobStore
from headset.webxr.certificate import machine_addresses, machine_names, own_certificate
from headset.webxr.client_messages import Payload
from headset.webxr.datagram_lane import DatagramLanes
from headset.webxr.mesh_description import QUANTUM_M
from headset.webxr.presentation import Presentation
from headset.webxr.sample_coding import POSITION_ERROR_M
from headset.webxr.server import WebXrServer, WebXrServerOptions
from streams.clock import now_ns
from streams.headset_sample import HeadsetSample
from streams.mesh_texture import MeshTexture
from streams.panel import Panel
from streams.rigid import Rigid
from streams.shown_panels import ShownPanels
from streams.view import View
from tests.page_browser import FILES, arrays, browser_page
from tests.stream_server import paired
from tests.test_wire_mesh import jumping, moments, random_nodes

LEAST_PSNR = 32.0
"""Of a texture through H.264 at crf 20 and 4:2:0."""
FPS = 30.0


@dataclass
class Stage:
    """A server with its presentation, and a browser that looks at it."""

    server: Any
    presentation: Presentation
    page: Any
    lines: list[str]
    """The server's log."""
    samples: list[HeadsetSample] = field(default_factory=list)
    moved: list[Any] = field(default_factory=list)
    shown: dict[int, MeshTexture] = field(default_factory=dict)
    """By t_ns."""

    def show(self, mesh: MeshTexture, person: int = 0) -> MeshTexture:
        """The same, observed now."""
        now = MeshTexture(now_ns(), mesh.topology, mesh.vertices, mesh.normals, mesh.albedo)
        self.shown[now.t_ns] = now
        self.presentation.show(now, person)
        return now

    def until(self, condition: str, show: Callable[[int], object], seconds: float = 20.0) -> Any:
        """Show on until the page's condition holds; what it evaluates to."""
        end, k = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            show(k)
            k += 1
            time.sleep(1.0 / FPS)
            if k % 3 == 0 and (found := self.page.evaluate(condition)):
                return found
        state = "({frames: seen.frames.length, links: seen.links.slice(-1), errors: seen.errors})"
        raise AssertionError(f"{condition}: not within {seconds} s: {self.page.evaluate(state)}")

    def shown_by(self, message: dict[str, Any]) -> MeshTexture:
        """The mesh of a frame's time, which went through two clocks."""
        link = self.page.evaluate("seen.links.at(-1)")
        server_ns = (message["tMs"] + link["clock"]["offsetMs"]) * 1e6
        nearest = min(self.shown, key=lambda t_ns: abs(t_ns - server_ns))
        assert abs(nearest - server_ns) < 5e6 + link["clock"]["boundMs"] * 2e6
        return self.shown[nearest]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("worker")
    blobs, samples, moved, lines = BlobStore(), [], [], []
    lanes = DatagramLanes(lambda: started.port)
    presentation = Presentation(
        blobs, None, lambda _name, s: samples.append(s), moved.append, lanes=lanes
    )
    certificate = own_certificate(folder, machine_names(), machine_addresses())
    options = WebXrServerOptions(certificate, folder / "devices", port=0)
    started = WebXrServer(options, FILES, blobs, presentation.serve, log=lines.append)
    with started as server:
        url = f"https://localhost:{server.port}"
        with browser_page(folder, url, paired(server)) as page:
            page.goto(url + "/")
            yield Stage(server, presentation, page, lines, samples, moved)
    presentation.close()


@pytest.fixture(scope="module")
def people() -> list[MeshTexture]:
    return pictured(moments(10))


def pictured(meshes: list[MeshTexture]) -> list[MeshTexture]:
    """Each with a picture that tells which it is: smooth noise that drifts, the colour its own."""
    rng = np.random.default_rng(1)
    ground = cv2.resize(
        rng.uniform(40, 215, (24, 24, 3)), (256, 256), interpolation=cv2.INTER_CUBIC
    )
    found = []
    for k, mesh in enumerate(meshes):
        rgb = np.roll(ground, 3 * k, axis=1) + np.array([8.0, -4.0, 2.0]) * (k % 5)
        albedo = np.clip(rgb, 0, 255).astype(np.uint8)
        found.append(MeshTexture(k, mesh.topology, mesh.vertices, mesh.normals, albedo))
    return found


def rgb_of(texture: dict[str, Any]) -> np.ndarray:
    """I420 of BT.709, limited range -> (H, W, 3) uint8."""
    height, width = texture["height"], texture["width"]
    planes = []
    for name, stride in zip("yuv", texture["strides"], strict=True):
        rows, columns = (height, width) if name == "y" else ((height + 1) // 2, (width + 1) // 2)
        plane = texture[name].reshape(rows, stride)[:, :columns].astype(np.float32)
        planes.append(cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR))
    y, u, v = (planes[0] - 16) / 219, (planes[1] - 128) / 224, (planes[2] - 128) / 224
    rgb = np.stack([y + 1.5748 * v, y - 0.187324 * u - 0.468124 * v, y + 1.8556 * u], axis=-1)
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def test_mesh_and_texture_of_one_observation_arrive(
    stage: Stage, people: list[MeshTexture]
) -> None:
    stage.page.evaluate("seen.keep.add('all')")
    stage.until("seen.kept.size >= 12", lambda k: stage.show(people[k % len(people)]))
    kept = arrays(stage.page.evaluate("[...seen.kept.values()].slice(-8).map(plain)"))
    stage.page.evaluate("seen.keep.clear(), seen.kept.clear(), 0")
    topologies = arrays(stage.page.evaluate("seen.topologies.map(plain)"))
    assert len(topologies) == 1
    topology = people[0].topology
    assert topologies[0]["id"] == kept[0]["id"]
    assert (topologies[0]["faces"] == topology.faces.ravel()).all()
    assert (topologies[0]["uv"] == topology.uv.ravel()).all()
    assert (topologies[0]["surface"]["rgba"] == topology.surface.ravel()).all()
    assert topologies[0]["lit"] is topology.lit
    for message in kept:
        sent = stage.shown_by(message)
        off = message["vertices"].reshape(-1, 3) - sent.vertices
        assert np.linalg.norm(off, axis=1).max() <= np.sqrt(3) / 2 * QUANTUM_M + 5e-7
        cosine = (message["normals"].reshape(-1, 3) * sent.normals).sum(1)
        assert np.quantile(cosine, 0.01) > 0.99
        # The texture is the very moment's: the others' pictures are farther.
        shown = rgb_of(message["texture"]).astype(float)
        errors = [np.square(shown - mesh.albedo).mean() for mesh in people]
        assert int(np.argmin(errors)) == sent_index(people, sent)
        assert 10 * np.log10(255**2 / min(errors)) > LEAST_PSNR
    assert stage.page.errors == []


def sent_index(people: list[MeshTexture], sent: MeshTexture) -> int:
    return next(k for k, mesh in enumerate(people) if (mesh.albedo == sent.albedo).all())


def test_frame_ids_rise_and_three_are_out_at_most(stage: Stage, people: list[MeshTexture]) -> None:
    out = []

    def show(k: int) -> None:
        stage.show(people[k % len(people)])
        out.append(stage.presentation.statistics()[0].in_flight)

    stage.page.evaluate("seen.frames.length = 0")
    frames = stage.until("seen.frames.length > 15 && seen.frames", show)
    ids = [frame["frameId"] for frame in frames]
    assert ids == sorted(set(ids))
    # A page that says nothing gets no more than what may be out.
    stage.page.evaluate("seen.silent = true, seen.frames.length = 0")
    for k in range(40):
        show(k)
        time.sleep(1.0 / FPS)
    assert max(out) <= 3
    assert out[-1] == 3
    assert stage.page.evaluate("seen.frames.length") <= 4  # one was out, three more came
    stage.page.evaluate("seen.silent = false")
    last = stage.page.evaluate("seen.frames.at(-1)")
    stage.page.evaluate(
        "f => worker.postMessage({type: 'displayed', person: 0, frameId: f.frameId, tMs: f.at})",
        last,
    )
    newest = stage.until("seen.frames.at(-1).frameId", show)
    stage.until(f"seen.frames.at(-1).frameId > {newest} + 3", show)


def test_a_killed_socket_comes_back_with_a_key(stage: Stage, people: list[MeshTexture]) -> None:
    show = lambda k: stage.show(people[k % len(people)])  # noqa: E731
    stage.until("seen.frames.length > 3", show)
    stage.page.evaluate("seen.frames.length = 0, seen.links.length = 0, seen.topologies.length = 0")
    lost = time.monotonic()
    drop_links(stage.server)
    stage.until("seen.links.some(({state}) => state !== 'open')", show)
    stage.until("seen.frames.some(({frameId}) => frameId === 1)", show)
    assert time.monotonic() - lost < 2.0 + 1.0  # and the time that a busy machine takes
    stage.until("seen.frames.length > 5", show)
    assert stage.page.evaluate("seen.topologies.length") == 1


def test_a_page_that_lost_its_way_gets_a_key(stage: Stage, people: list[MeshTexture]) -> None:
    """Differences to a frame that the page never had, as many as may be on the way: nothing more
    comes by itself, so the page must ask until it is answered."""
    show = lambda k: stage.show(people[k % len(people)])  # noqa: E731
    stage.until("seen.frames.length > 3", show)
    stream = stage.presentation._sessions[0]._streams[0]
    spoilt = []

    def spoil(k: int) -> None:
        encoder = stream._encoding._mesh if stream._encoding else None
        if encoder is not None and encoder._last is not None and len(spoilt) < 8:
            spoilt.append(encoder._last[0])
            encoder._last = 4_000_000_000, encoder._last[1]
        show(k)

    end = time.monotonic() + 10
    while len(spoilt) < 8 and time.monotonic() < end:
        spoil(len(spoilt))
        time.sleep(1.0 / FPS)
    assert len(spoilt) == 8
    last = stage.page.evaluate("seen.frames.length")
    stage.until(f"seen.frames.length > {last} + 5", show)
    assert not stream.flow.key_needed


def drop_links(server: Any) -> None:
    """Cut every connection without a word."""

    def cut() -> None:
        for link in tuple(server._links):
            link.drop()

    server._loop.call_soon_threadsafe(cut)


def test_two_people_are_two_streams(stage: Stage, people: list[MeshTexture]) -> None:
    other = pictured(jumping(9))

    def show(k: int) -> None:
        stage.show(people[k % len(people)])
        stage.show(other[k % len(other)], person=2)

    stage.page.evaluate("seen.frames.length = 0, seen.gone.length = 0")
    counts = "[0, 2].every((who) => seen.frames.filter(({person}) => person === who).length > 5)"
    stage.until(counts, show)
    sizes = stage.page.evaluate("seen.frames.map(({person, count}) => [person, count])")
    assert {tuple(size) for size in sizes} == {
        (0, len(people[0].vertices)), (2, len(other[0].vertices)),
    }  # fmt: skip
    stage.presentation.remove(2)
    stage.until("seen.gone.includes(2)", lambda _k: None)


def test_a_basis_comes_once_and_its_coefficients_with_each_mesh(stage: Stage) -> None:
    nodes = random_nodes()
    stage.page.evaluate("seen.topologies.length = 0, seen.keep.add('all'), 0")

    def show(k: int) -> None:
        moment = nodes.nodes * np.float32(1.0 + 0.01 * k)
        mesh = replace(nodes, t_ns=now_ns(), nodes=moment)
        stage.presentation.show(mesh, person=3)

    find = "[...seen.kept.values()].filter(({person}) => person === 3)"
    stage.until(f"{find}.length > 3", show)
    (message, *_) = arrays(stage.page.evaluate(f"{find}.slice(-1).map(plain)"))
    stage.page.evaluate("seen.keep.clear(), seen.kept.clear(), 0")
    topology = arrays(stage.page.evaluate("seen.topologies.map(plain)"))
    assert len(topology) == 1
    basis = topology[0]["basis"]
    assert (basis["planes"]["values"] == nodes.basis.planes.ravel()).all()
    assert (basis["mean"]["rgb"] == nodes.basis.mean.ravel()).all()
    assert (basis["scale"] == nodes.basis.scale).all()
    assert (basis["grid"], basis["space"]) == ([5, 6], "additive")
    texture = message["texture"]
    assert texture["kind"] == "nodes"
    assert (texture["gain"] == nodes.gain).all()
    # The moment's factor is not told: the first plane gives it.
    shown = texture["nodes"].reshape(nodes.nodes.shape)
    used = nodes.basis.scale > 0
    factor = float((shown[..., 0] / nodes.nodes[..., 0]).mean())
    assert factor >= 0.99
    picture, wanted = (
        nodes.basis.picture(n.astype(np.float32), nodes.gain).astype(int)
        for n in (shown, nodes.nodes * factor)
    )
    assert np.abs(picture - wanted).max() <= 2
    assert (shown[..., ~used] == 0).all()
    stage.presentation.remove(3)


def test_samples_arrive_on_the_servers_clock(stage: Stage, people: list[MeshTexture]) -> None:
    joints = (np.arange(75) * 1e-3).astype(np.float32)
    view = {"eye": "left", "wxyz": [1, 0, 0, 0], "xyz": [0.1, 1.6, 0.2],
            "fov": [-0.9, 0.8, 0.7, -0.7], "size": [1680, 1760]}  # fmt: skip
    post = """([joints, view]) => worker.postMessage({
        type: "sample", tMs: performance.timeOrigin + performance.now(),
        head: {wxyz: [0.6, 0, 0.8, 0], xyz: [0.1, 1.6, 0.3]},
        left: new Float32Array(joints), right: null, views: [view]})"""
    stage.samples.clear()
    before = now_ns()
    for _ in range(20):
        stage.page.evaluate(post, [joints.tolist(), view])
        time.sleep(0.02)
    stage.until("true", lambda _k: None)
    after = now_ns()
    assert len(stage.samples) >= 15
    sample = stage.samples[-1]
    bound_ns = stage.presentation.statistics()[0].clock_bound_ns or 0
    assert bound_ns < 100_000_000
    assert before - bound_ns <= sample.t_ns <= after + bound_ns
    assert sample.device_ns is not None
    assert sample.right is None
    assert sample.left is not None
    assert np.abs(sample.left.ravel() - joints).max() <= 2 * POSITION_ERROR_M
    assert sample.world_from_head.angle_to(Rigid(np.array([0.6, 0, 0.8, 0]))) < 1e-4
    assert [v.eye for v in sample.views] == ["left"]
    # WebXR's eye looks along -z with y up: so does ours, whose axes are a camera's.
    forward = sample.views[0].world_from_eye.rotate(np.array([0.0, 0.0, 1.0]))
    assert np.allclose(forward, [0, 0, -1], atol=1e-4)
    times = [s.t_ns for s in stage.samples]
    assert times == sorted(set(times))


def test_samples_take_the_datagram_lane(stage: Stage, people: list[MeshTexture]) -> None:
    """By then the lane has opened; what came before went through the socket."""
    stage.until("seen.links.at(-1)?.lane", lambda k: stage.show(people[k % len(people)]))
    assert stage.presentation.statistics()[0].lane
    lane = stage.presentation._sessions[0]._lane
    assert lane is not None
    before, stage.samples[:] = lane.received, []
    post = """worker.postMessage({type: "sample", tMs: performance.timeOrigin + performance.now(),
        head: {wxyz: [1, 0, 0, 0], xyz: [0, 1.6, 0]}, left: null, right: null, views: []}), 0"""
    for _ in range(20):
        stage.page.evaluate(post)
        time.sleep(0.02)
    stage.until("true", lambda _k: None)
    assert lane.received - before >= 15  # of 20, any of which may be lost
    assert len(stage.samples) >= 15


def test_panels_come_when_they_change(stage: Stage) -> None:
    rgba = np.zeros((8, 16, 4), np.uint8)
    rgba[..., 0], rgba[..., 3] = 200, 128
    place = Rigid.from_translation((0.0, 1.0, -1.0))
    panel = Panel("board", rgba, "world", place, (0.4, 0.2), "model 1")
    stage.page.evaluate("seen.panels.length = 0, seen.gone.length = 0")
    stage.presentation.show_panels(ShownPanels(now_ns(), (panel,)))
    stage.until("seen.panels.length === 1", lambda _k: None)
    moved = Panel("board", rgba, "world", Rigid.from_translation((1, 1, -1)), (0.4, 0.2), "model 1")
    stage.presentation.show_panels(ShownPanels(now_ns(), (moved,)))
    stage.presentation.show_panels(ShownPanels(now_ns(), (moved,)))
    stage.until("seen.panels.length === 2", lambda _k: None)
    told = stage.page.evaluate(
        "seen.panels.map(({image, ...rest}) => [rest, image && [image.width, image.height]])"
    )
    assert told[0][1] == [16, 8]
    assert told[1][1] is None
    assert told[1][0]["anchorFromPanel"]["xyz"] == [1, 1, -1]
    assert told[0][0]["generatedBy"] == "model 1"
    stage.page.evaluate("""worker.postMessage({type: "panelMoved", id: "board",
        anchorFromPanel: {wxyz: [1, 0, 0, 0], xyz: [0, 2, 0]}, sizeM: [1, 0.5]}), 0""")
    end = time.monotonic() + 5
    while not stage.moved and time.monotonic() < end:
        time.sleep(0.02)
    assert (stage.moved[0].id, stage.moved[0].size_m) == ("board", (1.0, 0.5))
    stage.presentation.show_panels(ShownPanels(now_ns()))
    stage.until("seen.gone.includes('board')", lambda _k: None)


def test_sound_and_pictures_are_carried(stage: Stage) -> None:
    packet = bytes(range(40))
    stage.until(
        "seen.sounds.length > 0", lambda _k: stage.presentation.hear(packet, now_ns(), person=1)
    )
    sound = arrays(stage.page.evaluate("plain(seen.sounds[0])"))
    assert sound["opus"].tobytes() == packet
    assert sound["person"] == 1
    views = tuple(View(0, eye, Rigid(), np.array([-0.8, 0.8, 0.8, -0.8]), (160, 120))
                  for eye in ("left", "right"))  # fmt: skip
    stage.page.evaluate("""worker.postMessage({type: "wish", payload: "video"}), 0""")

    def show(k: int) -> None:
        rgb = np.full((120, 320, 3), 40 + 4 * (k % 40), np.uint8)
        stage.presentation.show_pictures(rgb, views, now_ns())

    videos = stage.until("seen.videos.length > 5 && seen.videos", show)
    most = max(link.in_flight for link in stage.presentation.statistics())
    assert most <= 3  # what was drawn is acknowledged
    assert videos[0]["size"] == [320, 120]
    assert [v["eye"] for v in videos[0]["views"]] == ["left", "right"]
    assert stage.presentation.statistics()[0].payload is Payload.VIDEO
    stage.page.evaluate("""worker.postMessage({type: "wish", payload: "auto"}), 0""")


def test_nothing_was_refused(stage: Stage) -> None:
    """At the end of all: the page kept to the format, and no error went by."""
    assert [line for line in stage.lines if line.startswith("refused")] == []
    assert stage.page.evaluate("seen.errors") == []
    assert stage.page.errors == []
    link = stage.page.evaluate("seen.links.at(-1)")
    assert link["state"] == "open"
    assert link["clock"]["boundMs"] < 100
