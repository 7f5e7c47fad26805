"""The pairing page in a real browser, over TLS, with its policy in force."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.headless_chromium import chromium
from tests.stream_server import refusals, serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    with serving(tmp_path) as started:
        yield started


class Visit:
    """A page, and what the browser complained about on it."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(ignore_https_errors=True, **context)
        self.complaints: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.add_init_script(
            "globalThis.violations = [];"
            "addEventListener('securitypolicyviolation', (e) => violations.push(e.blockedURI));"
        )
        self.page.goto(url)

    def wait_for_title(self, title: str) -> None:
        """Without an expression of our own, which the policy of the page that is left forbids."""
        from playwright.sync_api import expect

        expect(self.page).to_have_title(title, timeout=30_000)

    def violations(self) -> list[str]:
        return self.page.evaluate("violations")


def test_the_pin_is_typed_and_the_front_page_opens(browser: Any, server: Any):
    visit = Visit(browser, server.url(), user_agent="Mozilla/5.0 Quest 3 OculusBrowser/40.0")
    page = visit.page
    visit.wait_for_title("Visavis: pair this device")
    page.get_by_label("The six digits").fill("12")
    page.get_by_role("button", name="Pair").click()
    assert page.get_by_role("status").inner_text() == "Six digits are needed, there are 2."
    wrong = f"{(int(server.pairing.pin) + 1) % 10**6:06d}"
    page.get_by_label("The six digits").fill(wrong)
    page.keyboard.press("Enter")
    page.get_by_text("Wrong PIN; 4 tries left.").wait_for()
    assert visit.violations() == []
    # With the keys on the page, as a finger or a controller does.
    for digit in "9" + server.pairing.pin:
        page.get_by_role("button", name=digit, exact=True).click()
        if page.get_by_label("The six digits").input_value() == "9":
            page.get_by_role("button", name="Delete the last digit").click()
    page.get_by_role("button", name="Pair").click()
    visit.wait_for_title("the front page")
    (cookie,) = visit.context.cookies()
    assert cookie["name"] == "__Host-visavis"
    assert cookie["httpOnly"]
    assert cookie["secure"]
    assert cookie["sameSite"] == "Strict"
    assert page.evaluate("document.cookie") == "", "out of reach of scripts"
    assert [device.name for device in server.devices.all()] == ["Quest 3"]
    # The one refusal that was provoked is the one complaint.
    assert [c for c in visit.complaints if "403" not in c] == []
    page.reload()
    assert page.title() == "the front page"
    server.devices.revoke("Quest 3")
    page.reload()
    assert page.title() == "Visavis: pair this device"


def test_a_qr_codes_ticket_pairs_without_typing_and_leaves_the_address(browser: Any, server: Any):
    visit = Visit(browser, f"{server.url()}#ticket={server.pairing.ticket}")
    visit.wait_for_title("the front page")
    assert visit.page.url == server.url()
    assert len(server.devices.all()) == 1
    other = Visit(browser, f"{server.url()}#ticket=used")
    other.page.get_by_text("This QR code was used").wait_for()
    assert other.page.url == server.url()
    assert visit.complaints == []


def test_a_paired_page_talks_over_its_socket_and_is_isolated(browser: Any, server: Any):
    visit = Visit(browser, f"{server.url()}#ticket={server.pairing.ticket}")
    visit.wait_for_title("the front page")
    told = visit.page.evaluate(
        """async () => {
          const socket = new WebSocket(`wss://${location.host}/link`);
          socket.binaryType = "arraybuffer";
          await new Promise((done, failed) => { socket.onopen = done; socket.onerror = failed; });
          socket.send(new Uint8Array([7, 8, 9]));
          const got = await new Promise((done) => { socket.onmessage = done; });
          socket.close();
          return {
            got: [...new Uint8Array(got.data)], secure: isSecureContext,
            isolated: crossOriginIsolated, video: typeof VideoDecoder, xr: "xr" in navigator,
          };
        }"""
    )
    assert told == {
        "got": [7, 8, 9], "secure": True, "isolated": True, "video": "function", "xr": True
    }  # fmt: skip
    assert visit.violations() == []


def test_the_policy_stops_what_an_intruder_would_do(browser: Any, server: Any):
    visit = Visit(browser, f"{server.url()}#ticket={server.pairing.ticket}")
    visit.wait_for_title("the front page")
    visit.page.evaluate(
        """async () => {
          globalThis.ran = false;
          const inline = document.createElement("script");
          inline.textContent = "globalThis.ran = true";
          document.head.append(inline);
          await fetch("https://192.0.2.1/").catch(() => {});
          try { new WebSocket("wss://192.0.2.1/"); } catch {}
          document.body.innerHTML = "<img src='https://192.0.2.1/x.png' onerror='ran = true'>";
          await new Promise((done) => setTimeout(done, 100));
        }"""
    )
    assert visit.page.evaluate("ran") is False
    blocked = visit.violations()
    assert "inline" in blocked
    assert len([uri for uri in blocked if "192.0.2.1" in uri]) == 3


class Elsewhere(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>elsewhere</title>")

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def elsewhere(tls: ssl.SSLContext) -> Iterator[str]:
    """A server of somebody else's on this host, without any policy."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        other.socket = tls.wrap_socket(other.socket, server_side=True)
        thread = threading.Thread(target=other.serve_forever, daemon=True)
        thread.start()
        yield f"https://localhost:{other.server_address[1]}/"
        other.shutdown()
        thread.join(5.0)


def test_a_page_elsewhere_cannot_use_a_paired_browser(browser: Any, server: Any):
    """Another server on the same host: its cookies are shared, its origin is not."""
    visit = Visit(browser, f"{server.url()}#ticket={server.pairing.ticket}")
    visit.wait_for_title("the front page")
    with elsewhere(server.options.certificate.tls()) as url:
        page = visit.context.new_page()
        page.goto(url)
        told = page.evaluate(
            """async (host) => {
              const socket = new WebSocket(`wss://${host}/link`);
              const opened = await new Promise((done) => {
                socket.onopen = () => done(true); socket.onclose = () => done(false);
              });
              const read = await fetch(`https://${host}/`, { credentials: "include" })
                .then(() => true, () => false);
              return { opened, read };
            }""",
            f"localhost:{server.port}",
        )
    assert told == {"opened": False, "read": False}
    assert any("a WebSocket of another page" in line for line in refusals(server)), server.lines


def test_the_page_can_be_looked_at(browser: Any, server: Any, tmp_path: Path):
    """At the size of a headset's browser window nothing of the form is out of sight."""
    visit = Visit(browser, server.url(), viewport={"width": 1000, "height": 760})
    visit.page.screenshot(path=tmp_path / "pair.png")
    for name in ("Pair", "0", "1"):
        box = visit.page.get_by_role("button", name=name, exact=True).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 760
        assert min(box["width"], box["height"]) >= 60, "pixels, to be hit by pointing"
