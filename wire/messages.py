"""The messages two processes exchange, each a frozen object with ``encode`` and ``decode``.

Stands on every AMQP arrow of the flow. A body is one JSON object with ``schema`` (the version
of the wire format, 1); the AMQP property ``type`` carries the message's ``TYPE``,
``correlation_id`` ties replies to requests, ``reply_to`` names the requester's own queue, and
the headers carry ``request_id`` and ``remaining_ms`` (time left, a relative number, because
clocks of two machines differ). Readers ignore unknown fields and refuse another ``schema``.
docs/wire-format.md says the same in prose. Prediction batches have a frame of their own:
``wire.frames``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, TypeVar

import msgspec

from wire import errors

SCHEMA = 1
"""The wire format's version. A reader refuses what it cannot read; it never guesses."""

M = TypeVar("M", bound="Message")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What every message has: the schema version, and the two directions of its codec."""

    TYPE: ClassVar[str] = ""
    schema: int = SCHEMA

    def encode(self) -> bytes:
        """The JSON body to publish."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read a body.

        Raises errors.MalformedBody when it is not this message or of another schema version.
        """
        try:
            message = msgspec.json.decode(body, type=cls)
        except (msgspec.DecodeError, RecursionError) as error:
            raise errors.MalformedBody(f"not a {cls.TYPE} message") from error
        if message.schema != SCHEMA:
            raise errors.MalformedBody(f"wire schema {message.schema} is not {SCHEMA}")
        return message


# ------------------------------------------------------------------ training


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
    """Worker to every trainer: kill the child of this job, if it is yours."""

    TYPE: ClassVar[str] = "train.stop"
    job_id: str


class Failure(Message, frozen=True, kw_only=True):
    """Any server to its requester: the answer is an error."""

    TYPE: ClassVar[str] = "failure"
    error: errors.ErrorBody


# ------------------------------------------------------------------ datasets


class InspectRequest(Message, frozen=True, kw_only=True):
    """Profile an uploaded dataset."""

    TYPE: ClassVar[str] = "dataset.inspect"
    dataset_id: str
    request_id: str = ""


class MoreThan(msgspec.Struct, frozen=True):
    """A count known only to be larger than ``more_than``."""

    more_than: int


class ColumnProfile(msgspec.Struct, frozen=True):
    """One column: its type (number, text, boolean, date), missing cells and distinct values."""

    name: str
    type: Literal["number", "text", "boolean", "date"]
    missing: int
    distinct: int | MoreThan


class DatasetProfile(Message, frozen=True, kw_only=True):
    """What a dataset holds."""

    TYPE: ClassVar[str] = "dataset.profile"
    rows: int
    columns: tuple[ColumnProfile, ...]


# ------------------------------------------------------------------ changes (one active consumer)


class SetAlias(Message, frozen=True, kw_only=True):
    """Move an alias. ``expected`` (0: no alias yet) makes it a compare-and-swap; None moves it anyway."""

    TYPE: ClassVar[str] = "alias.set"
    model: str
    alias: str
    version: int
    expected: int | None = None
    by: str = ""


class DeleteAlias(Message, frozen=True, kw_only=True):
    """Remove an alias."""

    TYPE: ClassVar[str] = "alias.delete"
    model: str
    alias: str
    by: str = ""


class Rollback(Message, frozen=True, kw_only=True):
    """Point the alias ``champion`` at the version it named before."""

    TYPE: ClassVar[str] = "alias.rollback"
    model: str
    by: str = ""


class AliasState(Message, frozen=True, kw_only=True):
    """The alias after a change. ``version`` 0: it is gone. ``previous`` 0: there was none."""

    TYPE: ClassVar[str] = "alias.state"
    model: str
    alias: str
    version: int
    previous: int
    revision: int


class DeleteVersion(Message, frozen=True, kw_only=True):
    """Delete one version that no alias names."""

    TYPE: ClassVar[str] = "version.delete"
    model: str
    version: int
    by: str = ""


class DeleteModel(Message, frozen=True, kw_only=True):
    """Delete a model with all versions and aliases."""

    TYPE: ClassVar[str] = "model.delete"
    model: str
    by: str = ""


class Deleted(Message, frozen=True, kw_only=True):
    """It is gone: no predict that is sent later is answered by it."""

    TYPE: ClassVar[str] = "deleted"


class Settle(Message, frozen=True, kw_only=True):
    """End a job on the volume: either it has its version already, or it never gets one."""

    TYPE: ClassVar[str] = "job.settle"
    model: str
    job_id: str


class Settled(Message, frozen=True, kw_only=True):
    """``version`` is the one the job published, or 0: a tombstone now forbids publishing it."""

    TYPE: ClassVar[str] = "job.settled"
    job_id: str
    version: int
    metrics: dict[str, Any] = {}


# ------------------------------------------------------------------ predictors and the trainer


class PredictorAlive(Message, frozen=True, kw_only=True):
    """Predictor to every trainer, every 2 s and at start: I serve; 15 s of silence: I do not."""

    TYPE: ClassVar[str] = "predictor.alive"
    predictor_id: str


class PredictorGone(Message, frozen=True, kw_only=True):
    """Predictor to every trainer on an orderly stop: do not wait for me."""

    TYPE: ClassVar[str] = "predictor.gone"
    predictor_id: str


class LoadVersion(Message, frozen=True, kw_only=True):
    """Trainer to every predictor: verify, load and warm this version, then reply."""

    TYPE: ClassVar[str] = "version.load"
    model: str
    version: int


class VersionLoaded(Message, frozen=True, kw_only=True):
    """Predictor to trainer: this version is warm here, or why it is not."""

    TYPE: ClassVar[str] = "version.loaded"
    predictor_id: str
    model: str
    version: int
    error: errors.ErrorBody | None = None


class ForgetVersion(Message, frozen=True, kw_only=True):
    """Trainer to every predictor: this version (0: every version) of the model was deleted."""

    TYPE: ClassVar[str] = "version.forget"
    model: str
    version: int = 0


# ------------------------------------------------------------------ reads of models


class ListModels(Message, frozen=True, kw_only=True):
    """All models, by name."""

    TYPE: ClassVar[str] = "models.list"


class GetModel(Message, frozen=True, kw_only=True):
    """One model with its versions and aliases."""

    TYPE: ClassVar[str] = "models.get"
    model: str


class GetVersion(Message, frozen=True, kw_only=True):
    """One version with everything its manifest says."""

    TYPE: ClassVar[str] = "models.version"
    model: str
    version: int


class ReadFile(Message, frozen=True, kw_only=True):
    """A piece of an artefact's file; at most ``size_bytes`` from ``offset``."""

    TYPE: ClassVar[str] = "models.file"
    model: str
    version: int
    file: str
    offset: int
    size_bytes: int


class FilePiece(Message, frozen=True, kw_only=True):
    """The piece (base64 in JSON), the file's total size and its sha256 from the manifest."""

    TYPE: ClassVar[str] = "models.piece"
    data: bytes
    total_bytes: int
    sha256: str


class AliasSummary(msgspec.Struct, frozen=True):
    """An alias: the version it names, the one it named before (0: none), and when it moved."""

    alias: str
    version: int
    previous: int
    revision: int
    changed_at: str


class VersionSummary(msgspec.Struct, frozen=True):
    """One line about a version."""

    version: int
    created_at: str
    estimator: str
    task: str
    score: float | None
    scoring: str
    runtime: str
    size_bytes: int


class ModelSummary(msgspec.Struct, frozen=True):
    """One line about a model; ``champion`` 0: no alias of that name."""

    model: str
    champion: int
    versions: int
    latest: int


class ModelList(Message, frozen=True, kw_only=True):
    """Answer to ListModels."""

    TYPE: ClassVar[str] = "models.listed"
    models: tuple[ModelSummary, ...]


class ModelDetail(Message, frozen=True, kw_only=True):
    """Answer to GetModel, newest version first."""

    TYPE: ClassVar[str] = "models.model"
    model: str
    aliases: tuple[AliasSummary, ...]
    versions: tuple[VersionSummary, ...]


class VersionDetail(Message, frozen=True, kw_only=True):
    """Answer to GetVersion: the verified manifest, as stored."""

    TYPE: ClassVar[str] = "models.version_detail"
    model: str
    version: int
    aliases: tuple[str, ...]
    manifest: dict[str, Any]
