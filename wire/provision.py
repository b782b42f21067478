"""What the broker must hold before anyone connects: written from the topology table, read at its boot.

Comes in: wire.topology and a password per role. Goes out: a RabbitMQ definitions document with
the virtual host, one user per role (named like it) with the least rights it needs, exchanges,
queues and bindings. Rights are regular expressions over names (RabbitMQ access control):
*configure* to declare, *write* to publish or to bind a queue, *read* to consume or to bind to
an exchange. No user matches ``amq.default``, which reaches every queue.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from pika.adapters.blocking_connection import BlockingChannel

from wire import topology

NOTHING = "^$"
"""The right that matches no name."""


def definitions(passwords: Mapping[topology.Role, str], vhost: str = "warren") -> dict[str, Any]:
    """The definitions document for ``load_definitions``; ``passwords`` has one entry per user to make."""
    return {
        "vhosts": [{"name": vhost}],
        "users": [_user(role, password) for role, password in passwords.items()],
        "permissions": [{"user": role, "vhost": vhost, **permissions(role)} for role in passwords],
        "exchanges": [
            {"name": exchange.name, "vhost": vhost, "type": exchange.kind, **_DURABLE, "internal": False}
            for exchange in topology.EXCHANGES
        ],
        "queues": [
            {"name": queue.name, "vhost": vhost, **_DURABLE, "arguments": dict(queue.arguments)}
            for queue in topology.QUEUES
        ],
        "bindings": [_binding(queue.name, vhost) for queue in topology.QUEUES],
    }


def permissions(role: topology.Role) -> dict[str, str]:
    """The three rights of a role, as RabbitMQ writes them: ``configure``, ``write``, ``read``."""
    bound = [exchange for exchange in topology.EXCHANGES if role in exchange.binders]
    own = []
    if any(exchange.kind == "direct" for exchange in bound):
        own.append(rf"reply\.{role}\..+")
    if any(exchange.kind == "fanout" for exchange in bound):
        own.append(rf"inbox\.{role}\..+")
    written = [re.escape(exchange.name) for exchange in topology.EXCHANGES if role in exchange.writers]
    read = [re.escape(exchange.name) for exchange in bound]
    read += [re.escape(queue.name) for queue in topology.QUEUES if role in queue.readers]
    return {"configure": _matching(own), "write": _matching(written + own), "read": _matching(read + own)}


def fits(password_hash: str, password: str) -> bool:
    """Whether a user of ``definitions`` with this hash has this password."""
    return _hashed(base64.b64decode(password_hash)[:_SALT_BYTES], password) == password_hash


def declare(channel: BlockingChannel) -> None:
    """Declare every exchange, queue and binding on an open channel, as ``definitions`` would."""
    for exchange in topology.EXCHANGES:
        channel.exchange_declare(exchange.name, exchange.kind, durable=True)
    for queue in topology.QUEUES:
        channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
        channel.queue_bind(queue.name, queue.name, routing_key=queue.name)


_SALT_BYTES = 4
_DURABLE: dict[str, Any] = {"durable": True, "auto_delete": False, "arguments": {}}


def _matching(names: Iterable[str]) -> str:
    alternatives = "|".join(names)
    return f"^({alternatives})$" if alternatives else NOTHING


def _user(role: topology.Role, password: str) -> dict[str, Any]:
    return {
        "name": role,
        "password_hash": _hashed(secrets.token_bytes(_SALT_BYTES), password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": "",
    }


def _hashed(salt: bytes, password: str) -> str:
    """RabbitMQ's salted hash: base64 of a 4-byte salt and sha256(salt + password)."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _binding(queue: str, vhost: str) -> dict[str, Any]:
    return {
        "source": queue,
        "vhost": vhost,
        "destination": queue,
        "destination_type": "queue",
        "routing_key": queue,
        "arguments": {},
    }
