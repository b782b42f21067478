"""Who may call where no key is needed: programs of this machine, and no page of anybody's that a browser on it shows.

Between a request's headers and ``LOCAL``. A browser reaches loopback too, for any page: one whose name is made to
resolve to 127.0.0.1 sends that name as ``Host``; any other one sends its ``Origin``, or the browser says that it is of
another site (``Sec-Fetch-Site``), also where the page asks for something that needs no leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from wire import errors, exposure

MAX_KNOWN: Final = 256
"""Values of ``Host`` and ``Origin`` remembered: callers have a few, and a prediction pays a look-up for its own."""


class Keyless:
    """The callers of a gateway without keys."""

    def __init__(self, hosts: str = "") -> None:
        """``hosts`` are names that stand for this gateway besides localhost and loopback addresses, with commas."""
        self._names: Final = frozenset(_name(host.strip()) for host in hosts.split(",")) - {""}
        self._known: dict[bytes, bool] = {}

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Let pass what has these headers (by lower-case name). Raises errors.Forbidden.

        Without a ``Host`` it is no browser's, and goes to nobody but the one it was sent to.
        """
        host, origin = headers.get(b"host"), headers.get(b"origin")
        if host and not self._is_here(host):
            raise errors.Forbidden(
                "Without API keys this gateway answers to localhost and to loopback addresses only.",
                hint="Ask 127.0.0.1, name the host in WARREN_API__HOSTS, or set WARREN_API__KEYS=required.",
            )
        if (origin is not None and not self._is_here(origin)) or headers.get(b"sec-fetch-site") == b"cross-site":
            raise errors.Forbidden(
                "Without API keys this gateway answers no page of another site.",
                hint="Ask from a program, or set WARREN_API__KEYS=required.",
            )

    def _is_here(self, value: bytes) -> bool:
        """Whether a ``Host`` or an ``Origin`` names this machine or this gateway."""
        known = self._known.get(value)
        if known is None:
            name = _name(value.decode("latin-1"))
            known = name in self._names or exposure.is_loopback(name)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[value] = known
        return known


def _name(text: str) -> str:
    """The host's name in lower case, without scheme and port; empty where there is none."""
    try:
        return urlsplit("//" + text.rpartition("://")[2]).hostname or ""
    except ValueError:
        return ""
