"""Pictures from a real HTTP server on this machine, which also stalls, lies and breaks off."""

from __future__ import annotations

import base64
import io
import json
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from apps.command import run
from overlay.endpoint_model import (
    KEY_VARIABLE,
    EndpointModel,
    EndpointOptions,
    decode_picture,
    find_key,
)
from overlay.generation_event import GenerationFailed, PictureUpdate
from overlay.image_model import ModelError, final_step
from overlay.live_generation import LiveGeneration, LiveOptions
from overlay.wish import Wish


def png(size: tuple[int, int], colour: tuple[int, int, int] = (0, 0, 255)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of that many pixels in a few kilobytes, as a hostile server would send it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress(bytes(height * (1 + width // 8)), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


class Server(ThreadingHTTPServer):
    """Speaks the images API as its `manner` says."""

    daemon_threads = True
    manner = "good"
    failures = 0
    """So many requests are refused before one is answered."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.hung_up = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.server.requests.append({"path": self.path, "headers": dict(self.headers)})
        self.answer(200, png((64, 64), (255, 0, 0)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = {"path": self.path, "headers": dict(self.headers), "body": body}
        self.server.requests.append(asked)
        if self.server.failures:
            self.server.failures -= 1
            self.answer(503, b'{"error": {"message": "too busy"}}', Retry_After="0")
            return
        getattr(self, f"be_{self.server.manner}")()

    def data(self, **entry: object) -> None:
        said = {"created": 1, "data": [entry], "usage": {"total_tokens": 272}}
        self.answer(200, json.dumps(said).encode(), Content_Type="application/json")

    def be_good(self) -> None:
        self.data(b64_json=base64.b64encode(png((200, 100))).decode())

    def be_link(self) -> None:
        self.data(url=f"http://127.0.0.1:{self.server.server_address[1]}/picture.png")

    def be_link_elsewhere(self) -> None:
        self.data(url="http://169.254.169.254/latest/meta-data")

    def be_link_to_file(self) -> None:
        self.data(url="file:///etc/passwd")

    def be_huge(self) -> None:
        self.data(b64_json=base64.b64encode(bomb(10_000, 10_000)).decode())

    def be_lying_about_length(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(50_000_000_000))
        self.end_headers()

    def be_endless(self) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for _ in range(1000):
                self.wfile.write(b" " * (1 << 20))
        except OSError:
            self.server.hung_up.set()

    def be_stalling(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        try:
            for _ in range(300):
                self.wfile.write(b"{")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            self.server.hung_up.set()

    def be_silent(self) -> None:
        self.connection.settimeout(15)
        if self.connection.recv(1) == b"":
            self.server.hung_up.set()

    def be_breaking_off(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"data": [')
        self.close_connection = True

    def be_html(self) -> None:
        self.answer(200, b"<html>Welcome\x1b[2J to the hotel</html>")

    def be_empty(self) -> None:
        self.answer(200, b'{"data": []}')

    def be_nested(self) -> None:
        self.answer(200, b"[" * 200_000)

    def be_text_as_picture(self) -> None:
        self.data(b64_json=base64.b64encode(b"#!/bin/sh\necho no picture").decode())

    def be_broken_base64(self) -> None:
        self.data(b64_json="%%%")

    def be_forbidding(self) -> None:
        self.answer(401, b'{"error": {"message": "Incorrect API key provided"}}')

    def be_moving(self) -> None:
        self.answer(302, b"", Location="http://127.0.0.1:1/elsewhere")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join(10)


def model(server: Server, **options: Any) -> EndpointModel:
    defaults = {"model": "tiny", "first_wait_s": 0.01, "total_s": 10.0, "connect_s": 2.0}
    return EndpointModel(EndpointOptions(server.url, **{**defaults, **options}), "secret-key")


def test_a_picture_comes_cut_to_the_wish_and_its_cost_is_counted(server: Server) -> None:
    endpoint = model(server, price=0.04)
    step = final_step(endpoint, Wish("a blue cat", "oil", seed=5, size=(96, 96)))
    assert step.rgba.shape == (96, 96, 4)
    assert (step.rgba[48, 48] == (0, 0, 255, 255)).all()
    (asked,) = server.requests
    assert asked["path"] == "/v1/images/generations"
    assert asked["headers"]["Authorization"] == "Bearer secret-key"
    assert json.loads(asked["body"]) == {
        "prompt": "a blue cat, oil",
        "n": 1,
        "size": "96x96",
        "model": "tiny",
        "response_format": "b64_json",
        "seed": 5,
    }
    final_step(endpoint, Wish("a red cat"))
    assert endpoint.spent.text() == "2 pictures, 544 tokens, 0.0800 USD"
    assert model(server).spent.text() == "0 pictures, price unknown"
    assert endpoint.label == "tiny at 127.0.0.1"
    assert "secret" not in repr(endpoint)


def test_a_reference_goes_along_as_a_form(server: Server) -> None:
    reference = np.full((8, 8, 3), 77, np.uint8)
    final_step(model(server), Wish("a cat", reference=reference))
    (asked,) = server.requests
    assert asked["path"] == "/v1/images/edits"
    boundary = asked["headers"]["Content-Type"].partition("boundary=")[2].encode()
    parts = asked["body"].split(b"--" + boundary)
    assert parts[-1] == b"--\r\n"
    image = next(part for part in parts if b'name="image"' in part)
    sent = Image.open(io.BytesIO(image.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")))
    np.testing.assert_array_equal(np.asarray(sent), reference)
    assert any(b'name="prompt"\r\n\r\na cat\r\n' in part for part in parts)


def test_a_link_on_the_same_server_is_followed_without_the_key(server: Server) -> None:
    server.manner = "link"
    step = final_step(model(server), Wish("a cat", size=(64, 64)))
    assert (step.rgba[..., 0] == 255).all()
    assert "Authorization" not in server.requests[1]["headers"]


def test_a_busy_server_is_asked_again(server: Server) -> None:
    server.failures = 2
    assert final_step(model(server), Wish("a cat")).rgba.shape == (512, 512, 4)
    assert len(server.requests) == 3
    server.failures = 99
    with pytest.raises(ModelError, match=r"answered 503: too busy \(3 attempts at most"):
        final_step(model(server), Wish("a dog"))
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("manner", "said", "requests"),
    [
        ("huge", "picture of 10000 x 10000 pixels; expected at most 4.2 megapixels", 1),
        ("lying_about_length", "would send 50000 MB; expected at most 34 MB", 1),
        ("endless", "sent more than 34 MB", 1),
        ("breaking_off", "broke off after 10 of 1000 bytes", 3),
        ("html", "expected JSON, got <html>Welcome\\?\\[2J to the hotel</html>", 1),
        ("empty", r"expected a picture as data\[0\]", 1),
        ("nested", "expected JSON", 1),
        ("text_as_picture", "expected a PNG, JPEG or WebP picture, got #!/bin/sh", 1),
        ("broken_base64", "broken base64", 1),
        ("link_elsewhere", "neither https nor the server itself", 1),
        ("link_to_file", "neither https nor the server itself", 1),
        ("forbidding", r"answered 401 \(check the key\): Incorrect API key", 1),
        ("moving", "answered 302", 1),
    ],
)
def test_what_a_server_does_wrong_is_one_readable_line(
    server: Server, manner: str, said: str, requests: int
) -> None:
    server.manner = manner
    with pytest.raises(ModelError, match=said) as caught:
        final_step(model(server), Wish("a cat"))
    assert "\n" not in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert len(server.requests) == requests


@pytest.mark.parametrize("manner", ["stalling", "silent"])
def test_a_server_that_stalls_is_left(server: Server, manner: str) -> None:
    server.manner = manner
    begun = time.monotonic()
    with pytest.raises(ModelError, match="no complete answer in time"):
        final_step(model(server, total_s=0.6), Wish("a cat"))
    assert time.monotonic() - begun < 5.0
    assert server.hung_up.wait(10)


def test_nobody_there_is_said_soon() -> None:
    with Server() as unused:
        url = unused.url
    options = EndpointOptions(url, first_wait_s=0.01, total_s=5.0)
    with pytest.raises(ModelError, match="cannot be reached"):
        final_step(EndpointModel(options), Wish("a cat"))


def test_a_newer_wish_hangs_up_on_a_silent_server(server: Server) -> None:
    server.manner = "silent"
    with LiveGeneration([model(server)], LiveOptions(debounce_ns=0)) as live:
        live.ask(Wish("old"))
        while not server.requests:
            time.sleep(0.005)
        server.manner = "good"
        live.ask(Wish("new"))
        assert live.wait_until_idle(10)
        events = live.take_events()
    assert [e.wish.prompt for e in events if isinstance(e, PictureUpdate)] == ["new"]
    assert not any(isinstance(e, GenerationFailed) for e in events)
    assert server.hung_up.wait(10)


@pytest.mark.parametrize("size", [(10, 10), (300, 20), (20, 300), (64, 64)])
def test_any_shape_is_cut_from_its_middle(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, (0, 255, 0))
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=True)
    rgba = decode_picture(file.getvalue(), (80, 64), "a test")
    assert rgba.shape == (64, 80, 4)
    assert (rgba == (0, 255, 0, 255)).all()


def test_keys_come_from_the_environment_or_the_keyring() -> None:
    openai = "https://api.openai.com/v1"
    other = "http://127.0.0.1:8000/v1"
    assert find_key(other, {KEY_VARIABLE: " k \n"}) == "k"
    assert find_key(openai, {"OPENAI_API_KEY": "o"}) == "o"
    assert find_key(openai, {"OPENAI_API_KEY": "o", KEY_VARIABLE: "k"}) == "k"
    keyring = pytest.importorskip("keyring", reason="the extra keyring is not installed")
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):
        priority = 1  # pyright: ignore[reportAssignmentType]
        held: dict[tuple[str, str], str] = {}  # noqa: RUF012

        def get_password(self, service: str, username: str) -> str | None:
            return self.held.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.held[service, username] = password

    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    try:
        # Somebody else's server never gets OpenAI's key.
        assert find_key(other, {"OPENAI_API_KEY": "o"}) is None
        keyring.set_password("visavis", "127.0.0.1", "kept")
        assert find_key(other, {}) == "kept"
    finally:
        keyring.set_keyring(before)


@pytest.mark.parametrize(
    "url", ["", "ftp://x/v1", "127.0.0.1:8000", "http://", "https://user:pw@host/v1"]
)
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"EndpointOptions\.base_url"):
        EndpointOptions(url)


def test_a_server_with_few_sizes_is_asked_for_one_of_them(server: Server) -> None:
    sizes = ((256, 256), (1024, 1024), (1024, 1536))
    for wanted, asked in (
        ((300, 300), "1024x1024"),
        ((64, 64), "256x256"),
        ((64, 1200), "1024x1536"),
    ):
        final_step(model(server, sizes=sizes), Wish("a cat", size=wanted))
        assert json.loads(server.requests[-1]["body"])["size"] == asked


def test_the_command_line_says_what_it_cost(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "from-environment")
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    out = tmp_path / "cat.png"
    arguments = ["imagine", "a cat", "--out", str(out), "--size", "64x64"]
    spec = f"endpoint:{server.url}#tiny"
    assert run([*arguments, "--model", spec, "--price", "0.04"]) == 0
    said = capsys.readouterr()
    assert "tiny at 127.0.0.1: 1 picture, 272 tokens, 0.0400 USD" in said.err
    assert "the terms of 127.0.0.1" in said.out
    assert server.requests[0]["headers"]["Authorization"] == "Bearer from-environment"
    assert out.exists()
    server.manner = "huge"
    assert run([*arguments, "--model", spec]) == 1
    said = capsys.readouterr().err
    assert "10000 x 10000 pixels" in said
    assert run([*arguments, "--model", "endpoint:ftp://x"]) == 2
    assert "expected http:// or https://" in capsys.readouterr().err
