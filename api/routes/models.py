"""GET, PUT, POST and DELETE under /models: what is served, and which version of it.

Between a client and the other services: the API opens no model file, so reads are asked of a
predictor and changes of the trainer that is in charge of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import bodies, downloads, headers, names, openapi, problems
from api.keys.callers import Caller
from api.ledger import rows
from api.state import CallerDep, State, StateDep
from wire import errors, messages, topology
from wire.deadlines import Deadline

router = APIRouter(prefix="/models", tags=["models"])
"""The model calls."""

CHANGE_S = 10.0
"""Seconds a change may wait for its turn when the caller names no deadline; changes have one order."""

_UNKNOWN = (errors.DeadlineExceeded, errors.BrokerUnavailable, errors.InternalError)
"""How a change ends that may have been made all the same."""

M = TypeVar("M", bound=messages.Message)


class ModelList(msgspec.Struct, frozen=True):
    """All models, by name."""

    models: tuple[messages.ModelSummary, ...]


class ModelDetail(msgspec.Struct, frozen=True):
    """One model with its aliases and its versions, newest first."""

    model: str
    aliases: tuple[messages.AliasSummary, ...]
    versions: tuple[messages.VersionSummary, ...]


class VersionDetail(msgspec.Struct, frozen=True):
    """One version: the aliases that name it, and its manifest (metrics, features, lineage, digests, runtime)."""

    model: str
    version: int
    aliases: tuple[str, ...]
    manifest: dict[str, Any]


class AliasChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The version an alias is to name; with ``expected``, only if it names that one now (0: none)."""

    version: names.VersionNumber
    expected: int | None = None


class Entry(NamedTuple):
    """What the audit log is to say of a change: who made it, what it is, and of what."""

    caller: Caller
    action: rows.DeedKind
    target: str


class AliasState(msgspec.Struct, frozen=True):
    """An alias after a change; ``previous`` 0: it named none before."""

    model: str
    alias: str
    version: int
    previous: int
    revision: int


def deadline(state: State, request: Request) -> Deadline:
    """When a caller's reads must be answered, however many they take. Raises errors.BadInput."""
    return Deadline.after(headers.timeout_s(timeout_header(request), state.settings.predict))


async def read(state: State, message: messages.Message, expect: type[M], request: Request) -> M:
    """Ask a predictor. Raises what it answers and errors.NotAnswered kinds."""
    return await read_until(state, message, expect, deadline(state, request))


async def read_until(state: State, message: messages.Message, expect: type[M], until: Deadline) -> M:
    """The same for one of several questions. Raises what it answers and errors.NotAnswered kinds."""
    return await _ask(state, topology.MODELS, message, expect, until)


async def change(
    state: State,
    entry: Entry,
    message: messages.Message,
    expect: type[M],
    request: Request,
    result: Callable[[M], str] = lambda _: "",
) -> M:
    """Ask the trainer in charge, and record what was changed; ``result`` is what the answer adds to the entry.

    Where no answer comes, the entry says that the outcome is unknown. Raises what the trainer answers and
    errors.NotAnswered kinds.
    """
    given = timeout_header(request)
    wait_s = CHANGE_S if given is None else headers.timeout_s(given, state.settings.predict)
    until = Deadline.after(wait_s)
    await _require(state, topology.CHANGES, until)
    if state.rpc.blocked:
        raise errors.BrokerUnavailable  # nothing is sent, so nothing is unknown
    caller, action, target = entry
    try:
        made = await state.rpc.call(topology.CHANGES, message, expect, deadline=until)
    except _UNKNOWN:
        await state.trail.record(caller, action, f"{target} (outcome unknown)")
        raise
    await state.trail.record(caller, action, target + result(made))
    return made


async def _ask(state: State, queue: str, message: messages.Message, expect: type[M], until: Deadline) -> M:
    await _require(state, queue, until)
    return await state.rpc.call(queue, message, expect, deadline=until)


async def _require(state: State, queue: str, until: Deadline) -> None:
    try:
        async with asyncio.timeout(until.remaining_s):
            await state.consumers.require(queue)
    except TimeoutError:
        raise errors.DeadlineExceeded from None


def timeout_header(request: Request) -> bytes | None:
    """The caller's X-Request-Timeout-Ms, as it came."""
    given = request.headers.get("x-request-timeout-ms")
    return None if given is None else given.encode("latin-1")


@router.get("", summary="List models", **openapi.operation(answer=ModelList, problems=openapi.OF_RPC))
async def list_models(state: StateDep, request: Request) -> Response:
    """Every model with its champion and its newest version."""
    listed = await read(state, messages.ListModels(), messages.ModelList, request)
    return bodies.answer(ModelList(listed.models))


@router.get("/{model}", summary="Get a model", **openapi.operation(answer=ModelDetail, problems=openapi.OF_MODELS))
async def get_model(model: str, state: StateDep, request: Request) -> Response:
    """One model with its aliases and versions."""
    asked = messages.GetModel(model=names.name(model, "model"))
    detail = await read(state, asked, messages.ModelDetail, request)
    return bodies.answer(ModelDetail(detail.model, detail.aliases, detail.versions))


@router.get(
    "/{model}/versions/{version}",
    summary="Get a version",
    **openapi.operation(answer=VersionDetail, problems=(*openapi.OF_VERSIONS, errors.ModelCorrupt)),
)
async def get_version(model: str, version: str, state: StateDep, request: Request) -> Response:
    """One version with everything its signed manifest says."""
    asked = messages.GetVersion(model=names.name(model, "model"), version=names.version(version))
    detail = await read(state, asked, messages.VersionDetail, request)
    return bodies.answer(VersionDetail(detail.model, detail.version, detail.aliases, detail.manifest))


@router.get(
    "/{model}/versions/{version}/files/{file}",
    summary="Download a version's file",
    **openapi.operation(
        answer_media="application/octet-stream",
        problems=(*openapi.OF_VERSIONS, errors.NotFound, errors.ModelCorrupt),
        headers={"Repr-Digest": "The file's sha-256 (RFC 9530).", "Content-Length": "The file's size in bytes."},
    ),
)
async def get_file(model: str, version: str, file: str, state: StateDep, request: Request) -> Response:
    """A file of a version, for notebooks: model.onnx, model.skops or model.joblib."""
    downloads.check_file(file)
    await state.consumers.require(topology.MODELS)
    wanted = downloads.Wanted(names.name(model, "model"), names.version(version), file)
    return await downloads.stream(state.rpc, wanted, problems.request_id_of(request))


@router.put(
    "/{model}/aliases/{alias}",
    summary="Move an alias",
    **openapi.operation(
        body=AliasChange,
        answer=AliasState,
        problems=(*openapi.OF_VERSIONS, errors.StaleChampion, errors.Conflict, errors.ModelCorrupt, errors.StorageFull),
        example={"version": 1},
    ),
)
async def put_alias(model: str, alias: str, state: StateDep, caller: CallerDep, request: Request) -> Response:
    """Make an alias name a version; once this is answered, no prediction is served by the older one."""
    names.name(model, "model"), names.name(alias, "alias")
    async with bodies.read_json(request, AliasChange, limit_bytes=state.settings.limits.other_body_bytes) as wanted:
        message = messages.SetAlias(
            model=model, alias=alias, version=wanted.version, expected=wanted.expected, by=caller.owner
        )
    entry = Entry(caller, "alias.moved", f"{model}/{alias} to {wanted.version}")
    return _alias(await change(state, entry, message, messages.AliasState, request))


@router.delete(
    "/{model}/aliases/{alias}",
    summary="Delete an alias",
    **openapi.operation(status=204, problems=(*openapi.OF_MODELS, errors.AliasNotFound)),
)
async def delete_alias(model: str, alias: str, state: StateDep, caller: CallerDep, request: Request) -> Response:
    """Remove an alias; the version it named stays."""
    message = messages.DeleteAlias(model=names.name(model, "model"), alias=names.name(alias, "alias"), by=caller.owner)
    await change(state, Entry(caller, "alias.deleted", f"{model}/{alias}"), message, messages.AliasState, request)
    return Response(status_code=204)


@router.post(
    "/{model}/rollback",
    summary="Roll back",
    **openapi.operation(
        answer=AliasState, problems=(*openapi.OF_VERSIONS, errors.AliasNotFound, errors.Conflict, errors.ModelCorrupt)
    ),
)
async def rollback(model: str, state: StateDep, caller: CallerDep, request: Request) -> Response:
    """Make the alias champion name the version it named before."""
    message = messages.Rollback(model=names.name(model, "model"), by=caller.owner)
    entry = Entry(caller, "model.rolled_back", model)
    now = await change(state, entry, message, messages.AliasState, request, lambda now: f" to {now.version}")
    return _alias(now)


@router.delete(
    "/{model}/versions/{version}",
    summary="Delete a version",
    **openapi.operation(status=204, problems=(*openapi.OF_VERSIONS, errors.VersionInUse)),
)
async def delete_version(model: str, version: str, state: StateDep, caller: CallerDep, request: Request) -> Response:
    """Delete one version; one that an alias names can't be deleted."""
    message = messages.DeleteVersion(model=names.name(model, "model"), version=names.version(version), by=caller.owner)
    entry = Entry(caller, "version.deleted", f"{model}/{message.version}")
    await change(state, entry, message, messages.Deleted, request)
    return Response(status_code=204)


@router.delete("/{model}", summary="Delete a model", **openapi.operation(status=204, problems=openapi.OF_MODELS))
async def delete_model(model: str, state: StateDep, caller: CallerDep, request: Request) -> Response:
    """Delete a model with all its versions and aliases."""
    message = messages.DeleteModel(model=names.name(model, "model"), by=caller.owner)
    await change(state, Entry(caller, "model.deleted", model), message, messages.Deleted, request)
    return Response(status_code=204)


def _alias(state: messages.AliasState) -> Response:
    return bodies.answer(AliasState(state.model, state.alias, state.version, state.previous, state.revision))
