"""Passwords, keys and the broker's definitions, made once per stack.

Out go, in the stack's secrets folder: one RabbitMQ password file per service, the Ed25519 pair
that signs manifests, and the definitions file from which the broker takes its users.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from deploy.native.layout import Layout
from model_store import signing
from wire import provision, topology


def password_file(layout: Layout, role: topology.Role) -> Path:
    """Where a service finds its broker password."""
    return layout.secrets / f"broker-{role}.password"


def ensure(layout: Layout) -> None:
    """Make what is missing and write the definitions; what is there stays as it is."""
    signing.generate_keys(layout.secrets)
    passwords = {role: _password(password_file(layout, role)) for role in topology.ROLES}
    _write_definitions(layout.definitions, provision.definitions(passwords))


def _password(path: Path) -> str:
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(32))
    return path.read_text().strip()


def _write_definitions(path: Path, document: dict[str, Any]) -> None:
    """Hashes are salted anew each time, so the file is only replaced when something else in it changed."""
    if path.exists() and _without_hashes(json.loads(path.read_text())) == _without_hashes(document):
        return
    _write_private(path, json.dumps(document, indent=1))


def _without_hashes(document: dict[str, Any]) -> dict[str, Any]:
    users = [{key: value for key, value in user.items() if key != "password_hash"} for user in document["users"]]
    return {**document, "users": users}


def _write_private(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
