"""What both transports share: where the gateway is, how bytes become answers, how httpx's errors become ours.

Between ``warren.calls`` and httpx, whose exceptions are never seen outside these modules.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from warren import calls, errors
from warren.calls import Call
from warren.patience import retry_after_s
from warren.version import VERSION

T = TypeVar("T")

CONNECT_S = 5.0
"""Seconds for TCP and TLS."""
CONNECTIONS = 64
"""Connections to the gateway at once; a call beyond them waits its turn."""
MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""Largest answer that is read into memory."""
UPLOAD_PIECE_BYTES = 256 * 1024
"""Bytes of an upload that are read and sent at once."""
UPLOAD_WAIT_S = 150.0
"""Seconds an upload's answer may take after its last byte: a trainer looks at the table first."""


@dataclass(frozen=True)
class Target:
    """Where the gateway is, and the key to send it. Raises errors.InvalidConfig for what is no address."""

    url: str
    api_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Check both; a slash at the end of the address does not count."""
        object.__setattr__(self, "url", self.url.rstrip("/"))
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or parts.query or parts.fragment or parts.username:
            raise errors.InvalidConfig("The gateway's address must look like http://127.0.0.1:8080.")
        if not (self.api_key.isascii() and self.api_key.isprintable()) or " " in self.api_key:
            raise errors.InvalidConfig("The API key holds characters that no key has; copy it again, whole.")

    @property
    def local(self) -> bool:
        """Whether the gateway is on this machine, where no proxy has a say."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def in_the_clear(self) -> bool:
        """Whether a key would cross a network unencrypted."""
        return bool(self.api_key) and not self.local and self.url.startswith("http://")

    def options(self) -> dict[str, Any]:
        """Arguments for an httpx client."""
        headers = {"user-agent": f"warren-client/{VERSION}", "accept": "application/json"}
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=10)
        options = {"base_url": self.url, "headers": headers, "limits": limits, "trust_env": not self.local}
        if self.local and self.url.startswith("https://"):
            # The environment has no say in the way, but in whom to trust: SSL_CERT_FILE.
            options["verify"] = httpx.create_ssl_context()
        return options


def times(wait_s: float) -> httpx.Timeout:
    """The bounds of one call's waits."""
    return httpx.Timeout(wait_s, connect=min(CONNECT_S, wait_s))


def finish(call: Call[T], status: int, headers: httpx.Headers, body: bytes) -> T:
    """The answer of a call. Raises the errors of ``warren.errors``."""
    if 200 <= status < 300 or status in call.also:
        return call.read(body)
    raise refused(status, headers, body)


def refused(status: int, headers: httpx.Headers, body: bytes) -> errors.WarrenError:
    """The exception for an answer that is no success."""
    if status < 400:
        return errors.UnexpectedAnswer(f"The address answers {status}.", "Use the address that it leads to.")
    return calls.problem_of(status, body, retry_after_s(headers.get("retry-after")))


class Body:
    """An answer that is being read: bounded in size and in time."""

    def __init__(self, wait_s: float) -> None:
        """``wait_s``: seconds until the last byte must be there."""
        self._end = time.monotonic() + wait_s
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Take a piece. Raises errors.UnexpectedAnswer and errors.TimedOut."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > MAX_ANSWER_BYTES:
            raise errors.UnexpectedAnswer(f"The answer is larger than {MAX_ANSWER_BYTES} bytes.", "Ask for fewer rows.")
        if time.monotonic() > self._end:
            raise errors.TimedOut("The answer was not complete in time.")

    def whole(self) -> bytes:
        """All of it."""
        return b"".join(self._pieces)


@contextlib.contextmanager
def translated(target: Target) -> Iterator[None]:
    """Turn httpx's exceptions into ours."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        hint = "Is it running? `make up` starts one here; WARREN_URL or --url names another."
        raise errors.ConnectionFailed(f"No gateway answers at {target.url} ({_reason(error)}).", hint) from error
    except httpx.TimeoutException as error:
        raise errors.TimedOut("There was no answer in the time this call had.") from error
    except httpx.TransportError as error:
        raise errors.ConnectionFailed(f"The connection to {target.url} broke ({_reason(error)}).") from error
    except (httpx.RequestError, httpx.InvalidURL, httpx.StreamError) as error:
        raise errors.UnexpectedAnswer(f"The answer of {target.url} cannot be read ({_reason(error)}).") from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
