"""Who asks, and what they may do.

Between the keyring, which knows it from a key, and the routes, which see and change only what
this caller may.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Scope = Literal["predict", "train", "admin"]
"""What a key may be allowed: predictions; trainings, datasets, jobs and aliases; everything."""

SCOPES: Final[frozenset[str]] = frozenset({"predict", "train", "admin"})
"""Every scope there is."""
ANY: Final = ""
"""The scope that every valid key has."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the owner's name, what it may do, and the public prefix of its key ('': none was needed)."""

    owner: str
    scopes: frozenset[str]
    key: str = ""

    @property
    def sees(self) -> str | None:
        """Whose jobs and datasets this caller sees: its own; None, everybody's, for an admin."""
        return None if "admin" in self.scopes else self.owner


LOCAL: Final = Caller("local", SCOPES)
"""Everybody, on a gateway that listens on loopback only and needs no key."""

NOBODY: Final = Caller("", frozenset())
"""Who makes a call that is open to everybody: it sees and may do nothing else."""

OPERATOR: Final = Caller("command-line", SCOPES)
"""Who uses a command on the ledger itself: access to it is the right to."""


def granted(scopes: Iterable[str]) -> frozenset[str]:
    """What a key with these scopes may do; ``admin`` may do everything. Unknown ones count for nothing."""
    given = SCOPES.intersection(scopes)
    return SCOPES if "admin" in given else given
