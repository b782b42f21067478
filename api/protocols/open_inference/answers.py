"""What the repository's index and the statistics are, whichever way they are asked for.

Between the calls of the Open Inference Protocol, over HTTP and over gRPC, and what this replica and a predictor know.
"""

from __future__ import annotations

import msgspec
from fastapi import Request

from api.predict.envelope import CHAMPION
from api.predict.statistics import Figures, Statistics
from api.protocols import served
from api.protocols.open_inference import metadata
from api.routes.models import read
from api.state import State
from wire import errors, messages


class Indexed(msgspec.Struct, frozen=True):
    """A model and the version that is served; UNAVAILABLE, with its newest version, where none is."""

    name: str
    version: str
    state: str
    reason: str


async def index(state: State, request: Request, ready: bool) -> list[Indexed]:
    """Every model, or with ``ready`` those that are served. Raises errors.NotAnswered kinds."""
    listed = await read(state, messages.ListModels(), messages.ModelList, request)
    return [_indexed(each) for each in listed.models if each.champion or not ready]


def _indexed(model: messages.ModelSummary) -> Indexed:
    if model.champion:
        return Indexed(model.model, str(model.champion), "READY", "")
    return Indexed(model.model, str(model.latest), "UNAVAILABLE", f"no alias {CHAMPION} names a version")


async def statistics(
    state: State, request: Request, figures: Statistics, model: str | None, version: str | None
) -> list[metadata.ModelStatistics]:
    """How often each version was asked of this replica: of all models, of one, or of one version.

    Raises errors.NotFound kinds and errors.NotAnswered kinds.
    """
    if model is None:
        return metadata.statistics(figures.of())
    found = await served.detail(state, request, model)
    number = served.number_of(found, version) if version is not None else 0
    if number and number not in (each.version for each in found.versions):
        raise errors.VersionNotFound
    named = figures.of(found.model, number)
    # A version that nobody asked yet is told with zeros.
    default = number or max(each.version for each in found.versions)
    return metadata.statistics(named or {(found.model, default): Figures()})
