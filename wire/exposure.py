"""Whether a process may listen where it is told to: beyond loopback only with keys and real passwords.

Between the settings and the start of a process. In come an address, whether callers need keys,
and the passwords in use; out goes a sentence that says what to do, or nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

EXAMPLES = frozenset(
    {"guest", "warren", "password", "passwd", "secret", "admin", "example", "changeme", "change-me", "changethis"}
    | {"change-this", "postgres", "rabbitmq", "root", "test", "123456", "12345678"}
)
"""Passwords that stand in examples everywhere; whoever can reach the port tries them first."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener on ``host``, an address or ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def objection(host: str, keys: str, passwords: Mapping[str, str]) -> str:
    """Why a process must not listen on ``host``, and what to do; empty when it may.

    ``keys`` is the setting ``api.keys``; ``passwords`` are by the setting that names their file.
    An empty password is none: the other side knows the process by another means.
    """
    if is_loopback(host):
        return ""
    if keys != "required":
        return (
            f"{host} can be reached from other machines, so callers need keys: set WARREN_API__KEYS=required "
            "and make the first key with `python -m api.keys create --owner NAME --scope admin`, or listen on 127.0.0.1"
        )
    for setting, password in passwords.items():
        if password.lower() in EXAMPLES:
            return (
                f"{host} can be reached from other machines, and a password in use is one that stands in examples: "
                f"set a random one and name its file in {setting}"
            )
    return ""


def read(file: Path) -> str:
    """The password in a file; empty where it can't be read yet: whoever needs it says so."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def password_of(url: str) -> str:
    """The password in a database URL; empty where it has none."""
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""
