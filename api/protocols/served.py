"""What a predictor says of the model and version that a path of another protocol names.

Between the routes of the protocols and the questions of ``api.routes.models``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastapi import Request

from api.protocols import references
from api.routes.models import deadline, read_until
from api.state import State
from wire import catalogue, errors, messages
from wire.deadlines import Deadline


class Served(NamedTuple):
    """One version of a model: its verified manifest, and all versions of the model, oldest first."""

    model: str
    version: int
    versions: tuple[int, ...]
    manifest: dict[str, Any]

    @property
    def columns(self) -> list[dict[str, Any]]:
        """The columns it was fitted on, in order, each with ``name`` and ``type``."""
        return list((self.manifest.get("features") or {}).get("columns", ()))

    @property
    def classes(self) -> list[Any] | None:
        """Its classes; None for a regression."""
        found: list[Any] | None = self.manifest.get("classes")
        return found

    @property
    def has_probabilities(self) -> bool:
        """Whether its estimator gives probabilities; False for one that this replica does not know."""
        try:
            return catalogue.has_probabilities(self.manifest["estimator"], self.manifest.get("params") or {})
        except (KeyError, TypeError):
            return False


async def detail(state: State, request: Request, model: str) -> messages.ModelDetail:
    """A model with its aliases and versions. Raises errors.ModelNotFound and errors.NotAnswered kinds."""
    return await _detail(state, model, deadline(state, request))


async def _detail(state: State, model: str, until: Deadline) -> messages.ModelDetail:
    asked = messages.GetModel(model=references.model(model))
    return await read_until(state, asked, messages.ModelDetail, until)


async def version(state: State, request: Request, model: str, given: str | None) -> Served:
    """The version that is named, by number or alias, or the one that is served.

    Raises errors.NotFound kinds, errors.ModelCorrupt and errors.NotAnswered kinds.
    """
    until = deadline(state, request)
    found = await _detail(state, model, until)
    number = number_of(found, given)
    asked = messages.GetVersion(model=found.model, version=number)
    told = await read_until(state, asked, messages.VersionDetail, until)
    versions = tuple(sorted(each.version for each in found.versions))
    return Served(found.model, number, versions, told.manifest)


def number_of(model: messages.ModelDetail, given: str | None) -> int:
    """The number of a version by number or alias. Raises errors.AliasNotFound and errors.VersionNotFound."""
    number, alias = references.version(given)
    if number:
        return number
    for each in model.aliases:
        if each.alias == alias:
            return each.version
    raise errors.AliasNotFound
