"""Pairing, devices, certificate, limits and log lines, each alone. Nothing here sleeps."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from headset.webxr.blob_answer import byte_range
from headset.webxr.blob_store import BlobStore
from headset.webxr.certificate import (
    CertificateError,
    given_certificate,
    machine_addresses,
    machine_names,
    make_certificate,
    own_certificate,
)
from headset.webxr.devices import MOST, Devices, TooManyDevicesError, name_from_browser
from headset.webxr.pairing import Pairing, PairingOptions, RestError, WrongPinError
from headset.webxr.rate_limits import AddressBuckets, TokenBucket, limited_address
from headset.webxr.refusals import Refusals
from headset.webxr.request_checks import host_of, is_own_host
from tests.stream_server import SetClock

NOW = datetime.datetime(2026, 7, 1, tzinfo=datetime.UTC)
NAMES, ADDRESSES = ("localhost", "den"), ("127.0.0.1", "192.168.1.5", "::1")


def wrong(pin: str) -> str:
    return f"{(int(pin) + 1) % 10**6:06d}"


# PIN and ticket


def test_the_pin_pairs_once_and_is_then_another():
    pairing = Pairing()
    pin = pairing.pin
    assert len(pin) == 6
    assert pin.isdecimal()
    pairing.try_pin(pin)
    assert pairing.pin != pin
    with pytest.raises(WrongPinError):
        pairing.try_pin(pin)


def test_a_pin_is_valid_for_two_minutes():
    clock = SetClock()
    pairing = Pairing(clock=clock)
    pin = pairing.pin
    clock.add(119.0)
    assert pairing.pin == pin
    assert 0 < pairing.pin_left_s <= 1.0
    clock.add(1.5)
    with pytest.raises(WrongPinError):
        pairing.try_pin(pin)
    assert pairing.pin != pin


def test_five_wrong_tries_use_a_pin_up():
    pairing = Pairing()
    pin = pairing.pin
    for left in (4, 3, 2, 1):
        with pytest.raises(WrongPinError, match=f"{left} tries left"):
            pairing.try_pin(wrong(pin))
        assert pairing.pin == pin
    with pytest.raises(WrongPinError, match="there is a new one"):
        pairing.try_pin(wrong(pin))
    assert pairing.pin != pin
    with pytest.raises(WrongPinError):
        pairing.try_pin(pin)


def test_guessing_gets_slower_and_a_ticket_still_pairs_meanwhile():
    clock = SetClock()
    pairing = Pairing(PairingOptions(rests_s=(0.0, 15.0, 60.0)), clock)
    tried = 0
    for _ in range(3600):  # A guess a second for an hour.
        with pytest.raises((RestError, WrongPinError)) as refused:
            pairing.try_pin(wrong(pairing.pin))
        tried += refused.type is WrongPinError
        clock.add(1.0)
    # At five tries a minute and a little: a guess at a million finds it in 139 days.
    assert 5 * 50 <= tried <= 5 * 60
    assert pairing.rest_s > 0 or tried % 5
    pairing.try_ticket(pairing.ticket)
    clock.add(61.0)
    pairing.try_pin(pairing.pin)
    assert pairing.rest_s == 0.0


def test_a_ticket_works_once_and_for_ten_minutes():
    clock = SetClock()
    pairing = Pairing(clock=clock)
    ticket = pairing.ticket
    assert len(ticket) >= 43, "256 bits"
    pairing.try_ticket(ticket)
    with pytest.raises(WrongPinError):
        pairing.try_ticket(ticket)
    old = pairing.ticket
    clock.add(601.0)
    with pytest.raises(WrongPinError):
        pairing.try_ticket(old)


# Devices


def test_a_device_is_known_by_its_token_until_it_is_revoked(tmp_path: Path):
    devices = Devices(tmp_path / "devices", clock=lambda: 1000.0)
    first, token = devices.pair("Quest 3")
    second, other = devices.pair("Quest 3")
    assert (first.name, second.name) == ("Quest 3", "Quest 3 2")
    assert token != other
    found = Devices(tmp_path / "devices", clock=lambda: 2000.0).find(token)
    assert found is not None
    assert found.name == "Quest 3"
    assert [d.seen_s for d in devices.all()] == [2000.0, 1000.0]
    assert devices.revoke("Quest 3")
    assert devices.find(token) is None
    assert not devices.is_paired(first)
    assert devices.is_paired(second)
    assert devices.find(other) is not None
    assert not devices.revoke("Quest 3")


def test_no_token_is_on_disk_and_nobody_else_can_read(tmp_path: Path):
    folder = tmp_path / "devices"
    devices = Devices(folder)
    device, token = devices.pair("Quest 3")
    (path,) = folder.iterdir()
    assert token not in path.name + path.read_text()
    assert path.name == device.token_hash
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("token", ["", "x", "../devices", "\udcff", "0" * 64, "a" * 4000])
def test_forged_tokens_are_nobodys(tmp_path: Path, token: str):
    devices = Devices(tmp_path)
    device, _ = devices.pair("Quest 3")
    assert devices.find(token) is None
    assert devices.find(device.token_hash) is None, "what lies on disk lets nobody in"


def test_there_is_an_end_to_devices_and_damaged_files_are_nobodys(tmp_path: Path):
    devices = Devices(tmp_path)
    for _ in range(MOST):
        device, token = devices.pair("headset")
    with pytest.raises(TooManyDevicesError, match="--revoke"):
        devices.pair("one more")
    (tmp_path / device.token_hash).write_text("{")
    assert devices.find(token) is None
    assert len(devices.all()) == MOST - 1
    devices.pair("one more")


def test_names_come_from_the_browser_and_are_printable(tmp_path: Path):
    quest = "Mozilla/5.0 (X11; Linux x86_64; Quest 3) AppleWebKit/537.36 OculusBrowser/38.0"
    assert name_from_browser(quest) == "Quest 3"
    assert name_from_browser("\x1b[2J") == "browser"
    device, _ = Devices(tmp_path).pair("\x1b[2Jden\n" + "a" * 99)
    assert device.name.isprintable()
    assert device.name == ("2Jden " + "a" * 99)[:40]


# Certificate


def test_the_certificate_is_for_every_name_and_address(tmp_path: Path):
    kept = own_certificate(tmp_path, NAMES, ADDRESSES, NOW)
    parsed = x509.load_pem_x509_certificate(kept.chain.read_bytes())
    found = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == list(NAMES)
    assert found.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address(address) for address in ADDRESSES
    ]
    key = parsed.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert not parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert kept.fingerprint == parsed.fingerprint(hashes.SHA256()).hex(":").upper()
    assert len(kept.fingerprint) == 95
    assert (parsed.not_valid_after_utc - NOW).days < 398
    if os.name == "posix":
        assert stat.S_IMODE(kept.key.stat().st_mode) == 0o600


def test_the_certificate_is_kept_until_it_no_longer_fits(tmp_path: Path):
    def at(days: float, names=NAMES, addresses=ADDRESSES) -> str:
        now = NOW + datetime.timedelta(days=days)
        return own_certificate(tmp_path, names, addresses, now).fingerprint

    first = at(0)
    assert at(300) == first
    assert at(300, addresses=ADDRESSES[:1]) == first, "an address less is no reason"
    assert at(300, addresses=(*ADDRESSES, "2001:db8::7")) == first, "nor a changing IPv6 one"
    moved = at(300, addresses=("127.0.0.1", "10.0.0.7", "::1"))
    assert moved != first
    renamed = at(300, names=("localhost", "attic"), addresses=("127.0.0.1", "10.0.0.7"))
    assert renamed != moved
    late = at(300 + 370, names=("attic",), addresses=("10.0.0.7",))
    assert late != renamed, "less than 30 days are left"
    assert at(0, names=("attic",), addresses=("10.0.0.7",)) != late, "it is not valid yet"


@pytest.mark.parametrize("damage", ["key", "certificate", "other key", "open key", "no key"])
def test_a_damaged_pair_is_made_anew(tmp_path: Path, damage: str):
    first = own_certificate(tmp_path, NAMES, ADDRESSES, NOW)
    if damage == "key":
        first.key.write_text("nonsense")
    elif damage == "certificate":
        first.chain.write_text("nonsense")
    elif damage == "other key":
        first.key.write_bytes(make_certificate(NAMES, ADDRESSES, NOW, 10)[1])
    elif damage == "open key":
        first.key.chmod(0o644)
    else:
        first.key.unlink()
    second = own_certificate(tmp_path, NAMES, ADDRESSES, NOW)
    assert second.fingerprint != first.fingerprint
    second.tls()


def test_ones_own_certificate_is_taken_or_explained(tmp_path: Path):
    chain, key = tmp_path / "own.pem", tmp_path / "own.key"
    with pytest.raises(CertificateError, match=r"own\.pem: cannot be read"):
        given_certificate(chain, key)
    certificate, private = make_certificate(("den.example.org", "*.tail.net"), (), NOW, 90)
    chain.write_bytes(certificate)
    with pytest.raises(CertificateError, match=r"own\.key: cannot be read"):
        given_certificate(chain, key)
    key.write_bytes(private)
    assert given_certificate(chain, key).names == ("den.example.org", "*.tail.net")
    key.write_bytes(make_certificate((), ("127.0.0.1",), NOW, 90)[1])
    with pytest.raises(CertificateError, match="its own private key"):
        given_certificate(chain, key)
    locked = serialization.load_pem_private_key(private, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    key.write_bytes(locked)
    with pytest.raises(CertificateError, match="without a password"):
        given_certificate(chain, key)
    chain.write_text("nonsense")
    with pytest.raises(CertificateError, match="expected a certificate in PEM"):
        given_certificate(chain, key)


def test_this_machines_names_and_addresses_fit_a_certificate(tmp_path: Path):
    assert "localhost" in machine_names()
    assert {"127.0.0.1", "::1"} <= {*machine_addresses()}
    assert isinstance(
        own_certificate(tmp_path, machine_names(), machine_addresses()).tls(), ssl.SSLContext
    )


# Hosts


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost:8443", "localhost"), ("LOCALHOST.", "localhost"), ("den.local", "den.local"),
        ("192.168.1.5:1", "192.168.1.5"), ("[::1]:8443", "::1"), ("[0:0::1]", "::1"),
        ("[::ffff:10.0.0.7]", "10.0.0.7"),
        ("", None), ("a b", None), ("localhost:99999", None), ("localhost:8443:1", None),
        ("user@localhost", None), ("local\nhost", None), ("::1", None), ("/", None),
    ],
)  # fmt: skip
def test_the_host_of_a_header(header: str, host: str | None):
    assert host_of(header) == host


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True), ("127.0.0.1", True), ("192.168.1.5", True), ("pc.tail.net", True),
        ("10.0.0.9", True), ("evil.example", False), ("localhost.evil.example", False),
        ("192.168.1.5.nip.io", False), ("8.8.8.8", False), ("a.pc.tail.net", False),
        ("tail.net", False), ("2130706433", False),
    ],
)  # fmt: skip
def test_only_this_machines_hosts_are_its_own(host: str, own: bool):
    names = {"localhost", "127.0.0.1", "10.0.0.9", "*.tail.net"}
    assert is_own_host(host, names, "::ffff:192.168.1.5") is own


# Limits and log lines


def test_a_bucket_lets_through_its_rate_and_its_burst():
    clock = SetClock()
    clock_ns = [0]
    bucket = TokenBucket(10.0, 5.0, lambda: clock_ns[0])
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    let_through = 0
    for _ in range(1000):  # 10 s
        clock_ns[0] += 10_000_000
        let_through += bucket.take()
    assert 99 <= let_through <= 101
    addresses = AddressBuckets(10.0, 1.0, clock)
    assert addresses.take("a")
    assert not addresses.take("a")
    assert addresses.take("b")


def test_addresses_are_counted_as_their_owners_are():
    assert limited_address("2001:db8:1:2:3:4:5:6") == limited_address("2001:db8:1:2::9")
    assert limited_address("2001:db8:1:3::1") != limited_address("2001:db8:1:2::1")
    assert limited_address("::ffff:192.168.1.5") == "192.168.1.5"
    assert limited_address("fe80::1%eth0") == "fe80::/64"
    assert limited_address("\x1b[2J") == "unknown"


def test_a_flood_of_refusals_is_few_lines():
    clock, lines = SetClock(), []
    told = Refusals(lines.append, clock)
    for k in range(100_000):
        told.tell(f"10.0.{k % 200}.{k % 7}", "a wrong PIN or ticket", "\x1b[2J\n" + "a" * 999)
        clock.added_ns += 100_000  # 10 s in all
    assert told.count == 100_000
    assert len(lines) <= 75, "60 at once and one a second"
    assert all(line.isprintable() and len(line) < 250 for line in lines)
    clock.add(100.0)
    told.tell("10.0.0.0", "a wrong PIN or ticket")
    assert "other refusals were not told" in lines[-1]


def test_the_same_refusal_is_told_once_with_its_count():
    clock, lines = SetClock(), []
    told = Refusals(lines.append, clock)
    for _ in range(50):
        told.tell("10.0.0.1", "too many requests")
    told.tell("10.0.0.1", "a wrong PIN or ticket")
    assert len(lines) == 2
    clock.add(11.0)
    told.tell("10.0.0.1", "too many requests")
    assert lines[2] == (
        "refused 10.0.0.1: too many requests; 49 times more since the last such line"
    )


# Blobs


def test_blobs_are_found_by_what_they_hold():
    store = BlobStore(largest=10)
    name = store.add(b"12345")
    assert store.add(b"12345") == name
    assert store.get(name) == b"12345"
    assert store.get("nothing") is None
    store.add(b"54321")
    with pytest.raises(ValueError, match="at most 10 bytes"):
        store.add(b"1")


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-", (0, 100)), ("bytes=40-59", (40, 60)), ("bytes=90-999", (90, 100)),
        ("bytes=-10", (90, 100)), ("bytes=-999", (0, 100)), ("bytes=100-", None),
        ("bytes=-0", None), ("bytes=9-5", None), ("bytes=-", None), ("bytes=0-1,4-5", None),
        ("words=0-1", None), ("bytes=0-99999999999999999", None),
    ],
)  # fmt: skip
def test_ranges(header: str, part: tuple[int, int] | None):
    assert byte_range(header, 100) == part


def test_help_needs_no_server(root: Path):
    """aiohttp is imported when a stream starts, not by every verb."""
    code = "import sys, apps.command; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0
