"""What an API key looks like, how one is made, and how it is told from a guess.

In comes the system's randomness; out goes ``wk_<prefix>_<secret>``, shown once. The prefix is
public and names the key in lists and logs; of the secret only the SHA-256 is kept. The secret is
32 random bytes, so there is nothing to guess that a slow hash would protect (OWASP REST security
cheat sheet; NIST SP 800-63B section 5.1.2 on look-up secrets).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

from wire import errors

PREFIX_CHARS: Final = 8
"""Characters of a prefix: 41 bits, so that ten thousand of them do not meet."""
SECRET_BYTES: Final = 32
"""Random bytes of a secret; 43 characters in base64url."""

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_KEY = re.compile(rb"wk_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")
_PREFIX = re.compile(r"[a-z0-9]{8}")
_BEARER = b"bearer "


class Given(NamedTuple):
    """A key as a caller sent it: its public prefix, and the SHA-256 of its secret."""

    prefix: bytes
    digest: bytes


class Minted(NamedTuple):
    """A new key: the whole text for its owner, the prefix, and the hexadecimal digest to keep."""

    text: str
    prefix: str
    digest: str


def mint() -> Minted:
    """A new key."""
    prefix = "".join(secrets.choice(_ALPHABET) for _ in range(PREFIX_CHARS))
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return Minted(f"wk_{prefix}_{secret}", prefix, hashlib.sha256(secret.encode()).hexdigest())


def given(headers: Mapping[bytes, bytes]) -> Given:
    """The key among a request's headers, by lower-case name: ``Authorization: Bearer`` or ``X-API-Key``.

    Raises errors.Unauthenticated where there is none, or no whole one.
    """
    sent = headers.get(b"authorization", b"")
    bearer = sent[: len(_BEARER)].lower() == _BEARER
    text = sent[len(_BEARER) :].strip() if bearer else headers.get(b"x-api-key")
    if text is None:
        raise errors.Unauthenticated(hint="Send it as `Authorization: Bearer <key>`.")
    found = _KEY.fullmatch(text)
    if found is None:
        raise errors.Unauthenticated
    return Given(found[1], hashlib.sha256(found[2]).digest())


def is_prefix(text: str) -> bool:
    """Whether a text could be the prefix of a key."""
    return _PREFIX.fullmatch(text) is not None
