"""POST, GET and DELETE under /keys, and GET /audit: who may call, and who changed what.

Between an admin and the ledger. A key is shown in the answer that makes it and never again.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated

import anyio.to_thread
import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import bodies, names, openapi
from api.keys import making, rates
from api.keys.callers import Scope
from api.ledger import rows
from api.ledger.database import now_ms
from api.routes.jobs import Cursor, Limit
from api.state import CallerDep, State, StateDep
from api.times import iso, iso_or_none
from wire import errors

router = APIRouter(tags=["keys"])
"""The calls about keys."""

_NUMBER = re.compile(r"[0-9]{1,18}")
_PAGED: openapi.Problems = (errors.BadInput, *openapi.OF_LEDGER)


class KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make; without ``days`` it lives as long as the setting ``keys.days`` says.

    It may make ``rate_per_s`` calls a second, null: any number; without it the setting ``keys.rate_per_s`` says.
    """

    owner: names.Name
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=3)]
    days: Annotated[int, msgspec.Meta(ge=1, le=making.MAX_DAYS)] | None = None
    rate_per_s: Annotated[float, msgspec.Meta(gt=0, le=rates.MAX_PER_S)] | msgspec.UnsetType | None = msgspec.UNSET


class KeyView(msgspec.Struct, frozen=True):
    """A key as it may be shown: by its public prefix; ``rate_per_s`` null: it may make any number of calls."""

    prefix: str
    owner: str
    scopes: tuple[str, ...]
    state: rows.KeyState
    created_at: str
    expires_at: str
    revoked_at: str | None
    rate_per_s: float | None


class NewKey(KeyView, frozen=True, kw_only=True):
    """A key that was just made; ``key`` is what to send, and shown here only."""

    key: str


class KeyPage(msgspec.Struct, frozen=True):
    """Keys, newest first; ``next_cursor`` leads to the page behind this one, null: there is none."""

    keys: tuple[KeyView, ...]
    next_cursor: str | None


class DeedView(msgspec.Struct, frozen=True):
    """An entry of the audit log; ``actor`` is an owner, ``key`` the prefix of the key it used."""

    at: str
    actor: str
    key: str | None
    action: rows.DeedKind
    target: str
    request_id: str


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first; ``next_cursor`` leads to the page behind this one, null: there is none."""

    entries: tuple[DeedView, ...]
    next_cursor: str | None


@router.post(
    "/keys",
    summary="Make a key",
    **openapi.operation(
        body=KeyBody,
        answer=NewKey,
        status=201,
        problems=(errors.Conflict, *openapi.OF_LEDGER),
        example={"owner": "shop", "scopes": ["predict"]},
    ),
)
async def create_key(request: Request, state: StateDep, caller: CallerDep) -> Response:
    """The key is in this answer only. An owner may have two live keys: the old one and its successor."""
    config = state.settings.keys
    async with bodies.read_json(request, KeyBody, limit_bytes=state.settings.limits.other_body_bytes) as body:
        rate_per_s = config.rate_per_s if body.rate_per_s is msgspec.UNSET else body.rate_per_s
        wanted = making.Wanted(body.owner, frozenset(body.scopes), body.days or config.days, rate_per_s)
    key, text = await anyio.to_thread.run_sync(making.create, state.ledger, wanted, caller)
    await _know(state)
    return bodies.answer({**msgspec.to_builtins(_view(key)), "key": text}, 201)


@router.get("/keys", summary="List keys", **openapi.operation(answer=KeyPage, problems=_PAGED))
async def list_keys(state: StateDep, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Newest first, a page at a time; live, expired and revoked ones."""
    read = partial(state.ledger.keys.page, before=_number(cursor), limit=limit + 1)
    found = await anyio.to_thread.run_sync(read)
    page = tuple(_view(key) for key in found[:limit])
    return bodies.answer(KeyPage(page, str(found[limit - 1].number) if len(found) > limit else None))


@router.delete(
    "/keys/{prefix}",
    summary="Revoke a key",
    **openapi.operation(status=204, problems=(errors.NotFound, *openapi.OF_LEDGER)),
)
async def revoke_key(prefix: str, state: StateDep, caller: CallerDep) -> Response:
    """It ends on this replica at once and on every other one within seconds; 204 also the second time."""
    await anyio.to_thread.run_sync(making.revoke, state.ledger, prefix, caller)
    await _know(state)
    return Response(status_code=204)


@router.get("/audit", summary="Read the audit log", **openapi.operation(answer=AuditPage, problems=_PAGED))
async def read_audit(state: StateDep, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Who changed what, newest first, a page at a time."""
    read = partial(state.ledger.audit.page, before=_number(cursor), limit=limit + 1)
    found = await anyio.to_thread.run_sync(read)
    page = tuple(
        DeedView(iso(deed.at_ms), deed.actor, deed.key_prefix or None, deed.action, deed.target, deed.request_id)
        for deed in found[:limit]
    )
    return bodies.answer(AuditPage(page, str(found[limit - 1].number) if len(found) > limit else None))


async def _know(state: State) -> None:
    """Have this replica know of a change at once."""
    try:
        await state.keyring.refresh()
    except errors.LedgerUnavailable:
        return  # the change is made; the next look brings it


def _view(key: rows.Key) -> KeyView:
    return KeyView(
        prefix=key.prefix,
        owner=key.owner,
        scopes=tuple(key.scopes.split()),
        state=key.state(now_ms()),
        created_at=iso(key.created_ms),
        expires_at=iso(key.expires_ms),
        revoked_at=iso_or_none(key.revoked_ms),
        rate_per_s=key.rate_per_s,
    )


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if _NUMBER.fullmatch(cursor) is None:
        raise errors.BadInput("The cursor is not valid.", errors=[errors.FieldError("cursor", "is none of ours")])
    return int(cursor)
