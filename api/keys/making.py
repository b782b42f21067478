"""Making and revoking a key, and entries of the audit log: the same over HTTP and on the command line.

Between a route or the command, and the ledger. Blocks: the event loop calls it through a thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from api.keys import minting, rates
from api.keys.callers import SCOPES, Caller
from api.ledger import Ledger, rows
from api.ledger.database import now_ms
from wire import errors, logs

MAX_DAYS: Final = 3650
"""The longest life of a key."""

_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Wanted:
    """A key to make: for whom, allowing what, living how many days, with how many calls a second (None: any)."""

    owner: str
    scopes: frozenset[str]
    days: int
    rate_per_s: float | None = None


def create(ledger: Ledger, wanted: Wanted, by: Caller) -> tuple[rows.Key, str]:
    """The stored key, and its whole text, which is nowhere else.

    Raises errors.BadInput (no scope or an unknown one, no such rate), errors.Conflict (the owner has two live
    keys already) and errors.LedgerUnavailable.
    """
    if not wanted.scopes or wanted.scopes - SCOPES:
        raise errors.BadInput("A key needs one or more of the scopes admin, predict and train.")
    if wanted.rate_per_s is not None and not 0 < wanted.rate_per_s <= rates.MAX_PER_S:
        raise errors.BadInput(f"A key's rate is a number of calls a second above 0, and {rates.MAX_PER_S} at most.")
    minted = minting.mint()
    at_ms = now_ms()
    key = rows.Key(
        prefix=minted.prefix,
        digest=minted.digest,
        owner=wanted.owner,
        scopes=" ".join(sorted(wanted.scopes)),
        created_ms=at_ms,
        expires_ms=at_ms + wanted.days * _DAY_MS,
        rate_per_s=wanted.rate_per_s,
    )
    limit = "" if key.rate_per_s is None else f" {key.rate_per_s:g}/s"
    stored = ledger.keys.add(key, deed(by, "key.created", f"{key.prefix} {key.owner} {key.scopes}{limit}"))
    logs.log("key.created", key=stored.prefix, owner=stored.owner, scopes=stored.scopes, rate_per_s=stored.rate_per_s)
    return stored, minted.text


def revoke(ledger: Ledger, prefix: str, by: Caller) -> bool:
    """End a key; False where it was revoked before. Raises errors.NotFound and errors.LedgerUnavailable."""
    if not minting.is_prefix(prefix):
        raise errors.NotFound("There is no key with this prefix.")
    revoked = ledger.keys.revoke(prefix, deed(by, "key.revoked", prefix))
    logs.log("key.revoked", key=prefix)
    return revoked


def deed(by: Caller, action: rows.DeedKind, target: str) -> rows.Deed:
    """An entry of the audit log about what is being done now, in this request."""
    return rows.Deed(
        at_ms=now_ms(),
        actor=by.owner,
        key_prefix=by.key,
        action=action,
        target=target,
        request_id=logs.request_id_var.get(),
    )


def accepted(by: Caller, job: rows.Job) -> rows.Deed:
    """The entry that a job was accepted."""
    return deed(by, "train.accepted" if job.kind == "train" else "batch.accepted", f"{job.job_id} {job.model}")


def split(scopes: Iterable[str]) -> frozenset[str]:
    """Scopes given one by one or separated by commas."""
    return frozenset(part.strip() for given in scopes for part in given.split(",") if part.strip())
