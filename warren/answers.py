"""The gateway's answers as typed objects: JSON comes in, checked against these, and you get the object.

Members that a newer gateway adds are ignored; members that are missing or of another type make the
answer an UnexpectedAnswer. Times are ISO 8601 texts in UTC, as the gateway writes them.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from warren import errors

Scalar = bool | int | float | str | None
"""What a predicted class or value can be."""

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
"""The states of a job; the last three are its end."""

ENDED = frozenset({"succeeded", "failed", "cancelled"})
"""The states a job never leaves."""


class Prediction(msgspec.Struct, frozen=True):
    """Predictions for rows in their order, and the one version that made them.

    ``probabilities`` has a row per row and a number per class, in the order of the version's classes.
    """

    model: str
    version: int
    predictions: list[Scalar]
    request_id: str = ""
    probabilities: list[list[float]] | None = None


class MoreThan(msgspec.Struct, frozen=True):
    """A count known only to be larger than ``more_than``."""

    more_than: int


class Column(msgspec.Struct, frozen=True):
    """A column of a dataset: its type (number, text, boolean, date), missing cells and different values."""

    name: str
    type: str
    missing: int
    distinct: int | MoreThan


class WhyNot(msgspec.Struct, frozen=True):
    """Why something failed: a stable code and a sentence."""

    code: str
    message: str


class Dataset(msgspec.Struct, frozen=True):
    """An upload; ``rows`` and ``columns`` are None until a trainer has looked at it."""

    dataset_id: str
    format: str
    size_bytes: int
    created_at: str
    rows: int | None
    columns: tuple[Column, ...] | None
    error: WhyNot | None = None


class Datasets(msgspec.Struct, frozen=True):
    """A page of datasets, newest first."""

    datasets: tuple[Dataset, ...]
    next_cursor: str | None


class Progress(msgspec.Struct, frozen=True):
    """How far a job is: ``fraction`` from 0 to 1, the stage's name, a sentence."""

    fraction: float
    stage: str
    message: str


class JobResult(msgspec.Struct, frozen=True):
    """What a job has done.

    A training: the version it made, how good it is, whether it is the champion now and why. A prediction
    of a dataset: the version that predicted, how many rows there were, and how many it refused.
    """

    model: str
    version: int
    metrics: dict[str, Any] = {}
    promoted: bool = False
    promotion_reason: str = ""
    rows: int = 0
    refused: int = 0


class JobView(msgspec.Struct, frozen=True):
    """A job as the gateway tells it. ``queue_position`` (1: next) while it waits."""

    job_id: str
    kind: str
    status: Status
    model: str
    progress: Progress
    attempts: int
    created_at: str
    dataset: dict[str, Any] = {}
    target: str | None = None
    estimator: str | None = None
    version: int | None = None
    started_at: str | None = None
    ended_at: str | None = None
    queue_position: int | None = None
    cancel_requested: bool = False
    result: dict[str, Any] | None = None
    error: WhyNot | None = None

    @property
    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self.status in ENDED


class Accepted(msgspec.Struct, frozen=True):
    """The gateway keeps a job."""

    job_id: str
    status: Status

    def view(self, kind: str, model: str, target: str = "") -> JobView:
        """The job as far as it is known now, without asking."""
        return JobView(self.job_id, kind, self.status, model, Progress(0.0, "", ""), 0, "", target=target)


class Jobs(msgspec.Struct, frozen=True):
    """A page of jobs, newest first."""

    jobs: tuple[JobView, ...]
    next_cursor: str | None


class Event(msgspec.Struct, frozen=True):
    """One event of a job's stream: its number, its name (a state or ``progress``) and its content."""

    id: int
    name: str
    data: dict[str, Any]

    @property
    def progress(self) -> Progress | None:
        """How far the job is, where the event says so."""
        found = self.data.get("progress")
        return msgspec.convert(found, Progress) if isinstance(found, dict) else None

    def applied_to(self, view: JobView) -> JobView:
        """The job after this event."""
        said = msgspec.convert(self.data, _Said)
        changes = {name: value for name in _Said.__struct_fields__ if (value := getattr(said, name)) is not None}
        return msgspec.structs.replace(view, **changes)


class _Said(msgspec.Struct, frozen=True):
    status: Status | None = None
    attempts: int | None = None
    progress: Progress | None = None
    result: dict[str, Any] | None = None
    error: WhyNot | None = None


class ModelSummary(msgspec.Struct, frozen=True):
    """One line about a model; ``champion`` 0: no alias of that name."""

    model: str
    champion: int
    versions: int
    latest: int


class Models(msgspec.Struct, frozen=True):
    """All models, by name."""

    models: tuple[ModelSummary, ...]


class Alias(msgspec.Struct, frozen=True):
    """An alias: the version it names, the one it named before (0: none), and when it moved."""

    alias: str
    version: int
    previous: int
    revision: int
    changed_at: str = ""


class VersionSummary(msgspec.Struct, frozen=True):
    """One line about a version; ``score`` is the figure named ``scoring``."""

    version: int
    created_at: str
    estimator: str
    task: str
    score: float | None
    scoring: str
    runtime: str
    size_bytes: int


class Model(msgspec.Struct, frozen=True):
    """A model with its aliases and its versions, newest first."""

    model: str
    aliases: tuple[Alias, ...]
    versions: tuple[VersionSummary, ...]

    def alias(self, name: str) -> Alias | None:
        """The alias of a name, None where there is none."""
        return next((alias for alias in self.aliases if alias.alias == name), None)

    def served(self, name: str) -> int:
        """The version that an alias names. Raises errors.NotFound, as the gateway would."""
        found = self.alias(name)
        if found is None:
            raise errors.NotFound(errors.Problem(404, "alias_not_found", f"The model has no alias {name}."))
        return found.version


class Feature(msgspec.Struct, frozen=True):
    """A column that a version was fitted on: its name and type, in the order of plain rows."""

    name: str
    type: str


class Version(msgspec.Struct, frozen=True):
    """A version with everything its signed manifest says: metrics, features, lineage, digests, runtime."""

    model: str
    version: int
    aliases: tuple[str, ...]
    manifest: dict[str, Any]

    @property
    def features(self) -> tuple[Feature, ...]:
        """The columns of a row, in order."""
        return tuple(msgspec.convert((self.manifest.get("features") or {}).get("columns", []), list[Feature]))

    @property
    def classes(self) -> list[Scalar] | None:
        """The classes in the order of their probabilities; None for a regression."""
        return self.manifest.get("classes")


class AliasState(msgspec.Struct, frozen=True):
    """An alias after a change; ``previous`` 0: it named none before."""

    model: str
    alias: str
    version: int
    previous: int
    revision: int
