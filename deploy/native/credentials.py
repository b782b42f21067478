"""Passwords, keys and the broker's definitions, made once per stack.

Out go, in the stack's secrets folder: one RabbitMQ password file per service, the Ed25519 pair
that signs manifests, and the definitions file from which the broker takes its users.
"""

from __future__ import annotations

from pathlib import Path

from deploy import secret_files
from deploy.native.layout import Layout
from model_store import signing
from wire import topology


def password_file(layout: Layout, role: topology.Role) -> Path:
    """Where a service finds its broker password."""
    return layout.secrets / f"broker-{role}.password"


def ensure(layout: Layout) -> None:
    """Make what is missing and write the definitions; what is there stays as it is."""
    signing.generate_keys(layout.secrets)
    passwords = {role: secret_files.password(password_file(layout, role)) for role in topology.ROLES}
    secret_files.write_definitions(layout.definitions, passwords)
