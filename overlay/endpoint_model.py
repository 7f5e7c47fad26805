"""Pictures from a server that speaks OpenAI's images API.

POST {base}/images/generations with model, prompt, n, size and response_format, answered by
{"data": [{"b64_json": ...}]} or a URL (OpenAI's API reference, "Create image"; so do vLLM, LocalAI
and others). A reference picture goes to {base}/images/edits as multipart form data, as that
reference says.

The server is not trusted: what it sends is measured before it is read, and every wait ends.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
import random
import time
import urllib.parse
import uuid
import warnings
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from overlay.bounded_http import Answer, RetryError, Span, exchange, shortened
from overlay.image_model import ModelError, ModelStep
from overlay.wish import Wish

KEY_VARIABLE = "VISAVIS_IMAGES_KEY"
"""Environment variable with the server's key; OPENAI_API_KEY is used for api.openai.com only."""
KEYRING_SERVICE = "visavis"
LARGEST_PIXELS = 2048 * 2048
_RETRIED = (408, 409, 425, 429, 500, 502, 503, 504)
_OPENAI_HOST = "api.openai.com"


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Where, and how patiently."""

    base_url: str
    """For example "http://127.0.0.1:8000/v1"."""
    model: str = ""
    """As the server calls it; empty leaves the choice to the server."""
    connect_s: float = 5.0
    total_s: float = 60.0
    """For everything, retries included."""
    attempts: int = 3
    first_wait_s: float = 0.5
    """Before the second attempt; each further wait is twice as long, times 0.5 to 1."""
    price: float | None = None
    """What one picture costs, in `currency`, where one knows."""
    currency: str = "USD"
    sizes: tuple[tuple[int, int], ...] = ()
    """(width, height) that the server makes; empty: any. The nearest larger one is asked for."""

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"EndpointOptions.base_url: expected http:// or https://, got {self.base_url!r}"
            )
        if parts.username or parts.password:
            raise ValueError(
                "EndpointOptions.base_url: expected no password in it; put the key into "
                f"{KEY_VARIABLE}"
            )
        for name in ("connect_s", "total_s", "attempts"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"EndpointOptions.{name}: expected more than 0, got {getattr(self, name)}"
                )

    @property
    def host(self) -> str:
        return urllib.parse.urlsplit(self.base_url).hostname or ""


@dataclass(slots=True)
class Spending:
    """What was asked of a server so far."""

    pictures: int = 0
    cost: float | None = None
    """None where the price is not known."""
    tokens: int = 0
    """As the server counts them in "usage"."""
    currency: str = "USD"

    def text(self) -> str:
        """For whoever pays."""
        parts = [f"{self.pictures} picture{'s' * (self.pictures != 1)}"]
        if self.tokens:
            parts.append(f"{self.tokens} tokens")
        parts.append("price unknown" if self.cost is None else f"{self.cost:.4f} {self.currency}")
        return ", ".join(parts)


@dataclass(slots=True)
class EndpointModel:
    """An ImageModel on a server; each wish is one request, stopped where a newer one comes."""

    options: EndpointOptions
    key: str | None = field(default=None, repr=False)
    """Sent as a bearer token; see `find_key`."""
    spent: Spending = field(default_factory=Spending)
    clock: Callable[[], float] = time.monotonic

    instant = False
    generates = True

    def __post_init__(self) -> None:
        self.spent.currency = self.options.currency

    @property
    def name(self) -> str:
        return f"{self.options.model or 'images'} at {self.options.host}"

    @property
    def label(self) -> str:
        return self.name

    @property
    def licence(self) -> str:
        return f"the terms of {self.options.host}"

    def steps(self, wish: Wish, cancelled: Callable[[], bool]) -> Generator[ModelStep, None, None]:
        """One step. Raises ModelError for whatever the server or the network does wrong."""
        ends = self.clock() + self.options.total_s
        chance = random.Random(wish.content_hash(self.name))
        failure, wait_s = "", None
        for attempt in range(self.options.attempts):
            if attempt:
                pause = self.options.first_wait_s * 2 ** (attempt - 1) * chance.uniform(0.5, 1.0)
                if not self._wait(max(pause, wait_s or 0.0), ends, cancelled):
                    break
            try:
                rgba = self._ask(wish, ends, cancelled)
            except RetryError as error:
                failure, wait_s = str(error), error.wait_s
                continue
            if rgba is not None:
                yield ModelStep(1, 1, rgba)
            return
        if not cancelled():
            raise ModelError(
                f"{self.options.host}: {failure or 'no answer in time'} "
                f"({self.options.attempts} attempts at most, {self.options.total_s:g} s in all)"
            )

    def close(self) -> None:
        """Every request has ended by itself."""

    def _wait(self, pause_s: float, ends: float, cancelled: Callable[[], bool]) -> bool:
        """False when the time or the interest is over before."""
        until = self.clock() + pause_s
        if until >= ends:
            return False
        while (left := until - self.clock()) > 0:
            if cancelled():
                return False
            time.sleep(min(left, 0.05))
        return not cancelled()

    def _ask(
        self, wish: Wish, ends: float, cancelled: Callable[[], bool]
    ) -> npt.NDArray[np.uint8] | None:
        """The picture, or None when it is no longer wanted."""
        path, body, kind = _request(wish, self.options)
        headers = {"Content-Type": kind, "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        url = self.options.base_url.rstrip("/") + path
        answer = exchange("POST", url, body, headers, self._span(ends), cancelled)
        if answer is None:
            return None
        if answer.status != 200:
            text = _complaint(answer)
            if answer.status in _RETRIED:
                raise RetryError(text, answer.retry_after_s)
            raise ModelError(f"{self.options.host}: {text}")
        picture = self._picture_in(answer.body, ends, cancelled)
        return None if picture is None else decode_picture(picture, wish.size, self.options.host)

    def _picture_in(self, body: bytes, ends: float, cancelled: Callable[[], bool]) -> bytes | None:
        """The file that an answer holds or points to."""
        said = _json(body, self.options.host)
        usage = said.get("usage")
        tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
        self._count(tokens if isinstance(tokens, int) and 0 < tokens < 10**9 else 0)
        data = said.get("data")
        first = data[0] if isinstance(data, list) and data else None
        if isinstance(first, dict):
            coded, url = first.get("b64_json"), first.get("url")
            if isinstance(coded, str):
                try:
                    return base64.b64decode(coded, validate=True)
                except binascii.Error as error:
                    raise ModelError(f"{self.options.host}: sent broken base64") from error
            if isinstance(url, str):
                self._check_link(url)
                # Without the key: the link may lead to somebody else.
                answer = exchange("GET", url, b"", {}, self._span(ends), cancelled)
                if answer is None:
                    return None
                if answer.status != 200:
                    raise ModelError(
                        f"{self.options.host}: its picture's link: {_complaint(answer)}"
                    )
                return answer.body
        raise ModelError(
            f"{self.options.host}: expected a picture as data[0].b64_json or .url, got "
            f"{shortened(body)}"
        )

    def _check_link(self, url: str) -> None:
        """A server far away must not make this computer ask its own network for something."""
        parts = urllib.parse.urlsplit(url)
        same_host = parts.hostname == self.options.host
        if parts.scheme in ("http", "https") and same_host:
            return
        if parts.scheme == "https" and not _is_private(parts.hostname or ""):
            return
        raise ModelError(
            f"{self.options.host}: its picture lies at {shortened(url.encode())}, "
            "which is neither https nor the server itself"
        )

    def _count(self, tokens: int) -> None:
        self.spent.pictures += 1
        self.spent.tokens += tokens
        if self.options.price is not None:
            self.spent.cost = (self.spent.cost or 0.0) + self.options.price

    def _span(self, ends: float) -> Span:
        return Span(self.options.connect_s, ends, self.clock)


def find_key(base_url: str, environment: Mapping[str, str] | None = None) -> str | None:
    """The key for that server: from the environment, else from the keyring, else None.

    The keyring's entry is: service "visavis", user the server's host name. It is only looked at
    where the package `keyring` is installed.
    """
    variables = os.environ if environment is None else environment
    host = urllib.parse.urlsplit(base_url).hostname or ""
    key = variables.get(KEY_VARIABLE)
    if not key and host == _OPENAI_HOST:
        key = variables.get("OPENAI_API_KEY")
    if key:
        return key.strip()
    try:
        import keyring
    except ImportError:
        return None
    try:
        return keyring.get_password(KEYRING_SERVICE, host)
    except Exception:
        # Each of its backends fails in its own way where there is no desktop.
        return None


def decode_picture(data: bytes, size: tuple[int, int], sender: str) -> npt.NDArray[np.uint8]:
    """(H, W, 4) uint8 of `size` (width, height) from a file of a foreign sender: cut to that shape
    from its middle, then scaled. Raises ModelError for what is no picture, or too large a one."""
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 megapixels on; what is too much is checked here.
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            file = PillowImage.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
        with file:
            # Only the header is read until here.
            if file.width * file.height > LARGEST_PIXELS:
                raise ModelError(
                    f"{sender}: sent a picture of {file.width} x {file.height} pixels; expected "
                    f"at most {LARGEST_PIXELS / 1e6:.1f} megapixels"
                )
            picture = file.convert("RGBA")
    except PillowImage.DecompressionBombError as error:
        raise ModelError(f"{sender}: sent a picture of too many pixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ModelError(
            f"{sender}: expected a PNG, JPEG or WebP picture, got {shortened(data)}"
        ) from error
    width, height = size
    scale = max(width / picture.width, height / picture.height)
    cut = (width / scale, height / scale)
    left, top = (picture.width - cut[0]) / 2, (picture.height - cut[1]) / 2
    box = (left, top, left + cut[0], top + cut[1])
    return np.array(picture.resize(size, PillowImage.Resampling.LANCZOS, box), np.uint8)


def _request(wish: Wish, options: EndpointOptions) -> tuple[str, bytes, str]:
    """Path, body and content type."""
    width, height = _asked_size(wish.size, options.sizes)
    fields: dict[str, object] = {"prompt": wish.words, "n": 1, "size": f"{width}x{height}"}
    if options.model:
        fields["model"] = options.model
    # OpenAI's gpt-image models always answer so and refuse the field; it has no seed either.
    if not options.model.startswith("gpt-image"):
        fields["response_format"] = "b64_json"
    if options.host != _OPENAI_HOST:
        fields["seed"] = wish.seed
    if wish.reference is None:
        return "/images/generations", json.dumps(fields).encode(), "application/json"
    file = io.BytesIO()
    PillowImage.fromarray(wish.reference).save(file, "PNG")
    boundary = uuid.uuid5(uuid.NAMESPACE_OID, wish.content_hash("boundary")).hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image.png"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + file.getvalue()
        + f"\r\n--{boundary}--\r\n".encode()
    )
    return "/images/edits", b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _asked_size(size: tuple[int, int], sizes: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """Of the sizes that there are, the smallest that covers what is wanted, else the largest."""
    if not sizes:
        return size
    covering = [s for s in sizes if s[0] >= size[0] and s[1] >= size[1]]
    return min(covering or sizes, key=lambda s: s[0] * s[1] * (1 if covering else -1))


def _complaint(answer: Answer) -> str:
    """What a server says is wrong, without the rest of its answer."""
    try:
        said = json.loads(answer.body)["error"]
        text = said["message"] if isinstance(said, dict) else str(said)
    except (ValueError, KeyError, TypeError, RecursionError):
        text = ""
    hint = {401: "check the key", 403: "check the key", 404: "check the address"}
    known = f" ({hint[answer.status]})" if answer.status in hint else ""
    return f"answered {answer.status}{known}{': ' + shortened(text.encode()) if text else ''}"


def _json(body: bytes, host: str) -> dict[str, object]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{host}: expected JSON, got {shortened(body)}") from error
    if not isinstance(said, dict):
        raise ModelError(f"{host}: expected a JSON object, got {shortened(body)}")
    return said


def _is_private(host: str) -> bool:
    """Whether a name is this computer or an address of a private network."""
    import ipaddress

    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".local", ".internal", ".localhost"))
