"""GET, PUT, POST and DELETE under /models: what is served, and which version of it.

Between a client and the other services: the API opens no model file, so reads are asked of a
predictor and changes of the trainer that is in charge of them.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import bodies, downloads, headers, names, openapi, problems
from api.state import CallerDep, State, StateDep
from wire import errors, messages, topology
from wire.deadlines import Deadline

router = APIRouter(prefix="/models", tags=["models"])
"""The model calls."""

CHANGE_S = 10.0
"""Seconds a change may wait for its turn when the caller names no deadline; changes have one order."""

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


async def change(state: State, message: messages.Message, expect: type[M], request: Request) -> M:
    """Ask the trainer in charge. Raises what it answers and errors.NotAnswered kinds."""
    given = timeout_header(request)
    wait_s = CHANGE_S if given is None else headers.timeout_s(given, state.settings.predict)
    return await _ask(state, topology.CHANGES, message, expect, Deadline.after(wait_s))


async def _ask(state: State, queue: str, message: messages.Message, expect: type[M], until: Deadline) -> M:
    try:
        async with asyncio.timeout(until.remaining_s):
            await state.consumers.require(queue)
    except TimeoutError:
        raise errors.DeadlineExceeded from None
    return await state.rpc.call(queue, message, expect, deadline=until)


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
        problems=(*openapi.OF_VERSIONS, errors.StaleChampion, errors.ModelCorrupt, errors.StorageFull),
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
    moved = await change(state, message, messages.AliasState, request)
    await state.trail.record(caller, "alias.moved", f"{model}/{alias} to {moved.version}")
    return _alias(moved)


@router.delete(
    "/{model}/aliases/{alias}",
    summary="Delete an alias",
    **openapi.operation(status=204, problems=(*openapi.OF_MODELS, errors.AliasNotFound)),
)
async def delete_alias(model: str, alias: str, state: StateDep, caller: CallerDep, request: Request) -> Response:
    """Remove an alias; the version it named stays."""
    message = messages.DeleteAlias(model=names.name(model, "model"), alias=names.name(alias, "alias"), by=caller.owner)
    await change(state, message, messages.AliasState, request)
    await state.trail.record(caller, "alias.deleted", f"{model}/{alias}")
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
    moved = await change(state, message, messages.AliasState, request)
    await state.trail.record(caller, "model.rolled_back", f"{model} to {moved.version}")
    return _alias(moved)


@router.delete(
    "/{model}/versions/{version}",
    summary="Delete a version",
    **openapi.operation(status=204, problems=(*openapi.OF_VERSIONS, errors.VersionInUse)),
)
async def delete_version(model: str, version: str, state: StateDep, caller: CallerDep, request: Request) -> Response:
    """Delete one version; one that an alias names can't be deleted."""
    message = messages.DeleteVersion(model=names.name(model, "model"), version=names.version(version), by=caller.owner)
    await change(state, message, messages.Deleted, request)
    await state.trail.record(caller, "version.deleted", f"{model}/{message.version}")
    return Response(status_code=204)


@router.delete("/{model}", summary="Delete a model", **openapi.operation(status=204, problems=openapi.OF_MODELS))
async def delete_model(model: str, state: StateDep, caller: CallerDep, request: Request) -> Response:
    """Delete a model with all its versions and aliases."""
    message = messages.DeleteModel(model=names.name(model, "model"), by=caller.owner)
    await change(state, message, messages.Deleted, request)
    await state.trail.record(caller, "model.deleted", model)
    return Response(status_code=204)


def _alias(state: messages.AliasState) -> Response:
    return bodies.answer(AliasState(state.model, state.alias, state.version, state.previous, state.revision))
