"""Files that hold secrets: made once, whole or not at all, readable by whom they are for.

Out go password files and the broker's definitions, for every way of running the gateway.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wire import provision, topology


def password(path: Path) -> str:
    """The password in a file, made (32 random bytes) when there is none."""
    if not path.exists():
        write(path, secrets.token_urlsafe(32))
    return path.read_text().strip()


def write_definitions(path: Path, passwords: Mapping[topology.Role, str], mode: int = 0o600) -> None:
    """Hashes are salted anew each time, so the file is only replaced when a password or anything else changed."""
    document = provision.definitions(passwords)
    if path.exists():
        there = json.loads(path.read_text())
        hashes = {user["name"]: user["password_hash"] for user in there["users"]}
        if _without_hashes(there) == _without_hashes(document) and all(
            provision.fits(hashes[role], password) for role, password in passwords.items()
        ):
            return
    write(path, json.dumps(document, indent=1), mode)


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file by another, which never stands there half written."""
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _without_hashes(document: dict[str, Any]) -> dict[str, Any]:
    users = [{key: value for key, value in user.items() if key != "password_hash"} for user in document["users"]]
    return {**document, "users": users}
