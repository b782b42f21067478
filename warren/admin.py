"""The gateway's answers about itself, as typed objects: API keys, the examination, readiness.

Beside ``warren.answers``, under the same rules.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Key(msgspec.Struct, frozen=True):
    """An API key as it may be shown, by its public prefix; ``rate_per_s`` None: any number of calls."""

    prefix: str
    owner: str
    scopes: tuple[str, ...]
    state: str
    created_at: str
    expires_at: str
    revoked_at: str | None
    rate_per_s: float | None = None


class NewKey(msgspec.Struct, frozen=True):
    """A key that was just made; ``key`` is what to send, and told here only."""

    key: str
    prefix: str
    owner: str
    scopes: tuple[str, ...]
    expires_at: str
    rate_per_s: float | None = None


class Keys(msgspec.Struct, frozen=True):
    """A page of keys, newest first."""

    keys: tuple[Key, ...]
    next_cursor: str | None


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: ``status`` ok, warning or failed; ``mend`` says what to do."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str
    mend: str = ""


class Diagnosis(msgspec.Struct, frozen=True):
    """The gateway's own examination; ``status`` is the worst of its checks."""

    status: Literal["ok", "warning", "failed"]
    at: str
    checks: tuple[Check, ...]
    versions: dict[str, str] = {}


class Health(msgspec.Struct, frozen=True):
    """Whether the gateway can do its work, and what is missing."""

    status: str
    reasons: dict[str, str] = {}
