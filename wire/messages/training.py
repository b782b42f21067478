"""What a worker and a trainer say about one training: the request, its progress, its end."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from wire import errors
from wire.messages.envelope import Message


class DatasetRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which data: exactly one of an upload's ``id`` or the name of a ``sample`` set."""

    id: str | None = None
    sample: str | None = None


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hyperparameter search: ``kind`` and the values to try per parameter.

    ``candidates`` bounds a random search; grid and halving try the product of ``space``
    (at most 500 candidates).
    """

    space: dict[str, list[Any]]
    kind: Literal["grid", "random", "halving"] = "grid"
    candidates: int = 20
    folds: int = 3


class Validation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a version is judged.

    ``holdout`` is the share of rows kept out (chosen by a hash of each row's content, or the
    last rows by the column ``order_by``); ``folds`` above 0 adds cross-validation on the rest;
    ``scoring`` names the figure that decides (see wire.scoring), None for the task's default.
    """

    holdout: float = 0.2
    folds: int = 0
    scoring: str | None = None
    order_by: str | None = None


Promote = Literal["if_better", "always", "never"]


class TrainRequest(Message, frozen=True, kw_only=True):
    """Worker to trainer: fit, prove, publish. ``job_id`` makes it once."""

    TYPE: ClassVar[str] = "train.request"
    job_id: str
    attempt: int
    model: str
    dataset: DatasetRef
    target: str
    estimator: str = "auto"
    params: dict[str, Any] = {}
    search: Search | None = None
    validation: Validation = Validation()
    promote: Promote = "if_better"
    submitted_at: str = ""
    request_id: str = ""


class TrainProgress(Message, frozen=True, kw_only=True):
    """Trainer to worker, at least every 2 s while the child runs: still alive, and how far.

    ``fraction`` runs from 0 to 1 and never falls within one attempt.
    """

    TYPE: ClassVar[str] = "train.progress"
    job_id: str
    fraction: float
    stage: str
    message: str = ""


class TrainDone(Message, frozen=True, kw_only=True):
    """Trainer to worker: the version is published, loaded by the predictors, and judged."""

    TYPE: ClassVar[str] = "train.done"
    job_id: str
    model: str
    version: int
    metrics: dict[str, Any]
    promoted: bool
    promotion_reason: str


class StopTraining(Message, frozen=True, kw_only=True):
    """Worker to every trainer: kill what runs for this job, if it is yours."""

    TYPE: ClassVar[str] = "train.stop"
    job_id: str


class JobDead(Message, frozen=True, kw_only=True):
    """Worker to the dead letters: a job that failed for good, what was asked, and why it failed.

    ``request`` is the job's TrainRequest as stored, for people to read; a replay takes it from the ledger.
    """

    TYPE: ClassVar[str] = "job.dead"
    job_id: str
    owner: str
    model: str
    dataset_id: str | None
    attempts: int
    error: errors.ErrorBody
    request: dict[str, Any]
