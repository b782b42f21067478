"""Errors that travel: what one process tells another when the answer is no.

The tree::

    WarrenError
    ├── Answered                 the other side understood and declined
    │   ├── BadInput             bad_input            a value has the wrong shape or meaning
    │   ├── MalformedBody        malformed_body       the bytes are not the format they claim
    │   ├── TooLarge             too_large            over a stated limit
    │   ├── Unauthenticated      unauthenticated      no key, or none that counts
    │   ├── Forbidden            forbidden            the key does not allow this
    │   ├── NotFound             not_found
    │   │   ├── ModelNotFound    model_not_found
    │   │   ├── VersionNotFound  version_not_found
    │   │   ├── AliasNotFound    alias_not_found
    │   │   ├── DatasetNotFound  dataset_not_found
    │   │   └── JobNotFound      job_not_found
    │   ├── Conflict             conflict
    │   │   ├── VersionInUse     version_in_use       an alias names the version
    │   │   ├── DatasetInUse     dataset_in_use       a job uses the dataset
    │   │   └── StaleChampion    stale_champion       the alias moved since it was compared
    │   ├── ModelCorrupt         model_corrupt        the artefact fails verification
    │   ├── TrainingFailed       training_failed      the input cannot be trained on; no retry helps
    │   ├── Cancelled            cancelled            somebody asked for it to stop
    │   ├── StorageFull          storage_full
    │   ├── InferenceCrashed     inference_crashed    this request killed a predictor twice
    │   ├── RetryAlone           retry_alone          a redelivered batch: send its requests one by one
    │   ├── Stopping             stopping             the other process ends first; the input is not why
    │   └── InternalError        internal_error       a defect; details are in the log only
    └── NotAnswered              nobody answered
        ├── Unroutable           unroutable           no queue, or nobody consumes it
        ├── Overloaded           overloaded           the queue is full, or too much is in flight
        ├── DeadlineExceeded     deadline_exceeded
        ├── BrokerUnavailable    broker_unavailable
        └── LedgerUnavailable    ledger_unavailable

Each class has a stable ``code``; its docstring's first line is its default message. Only
the HTTP edge turns codes into statuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

MAX_FIELD_ERRORS = 16
"""How many field errors travel in one error; the rest say nothing new to a person."""


class FieldError(msgspec.Struct, frozen=True):
    """One place in the input and what is wrong there.

    ``at`` is a path such as ``instances[3].age``, in which a name that nobody knows but the caller is a
    number; ``problem`` says what is wrong and how to mend it, and never repeats the value.
    """

    at: str
    problem: str


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The wire form of an error: code, sentence, field errors, and the next step to take."""

    code: str
    message: str
    errors: tuple[FieldError, ...] = ()
    hint: str = ""


class WarrenError(Exception):
    """Something went wrong in the gateway."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str = "", *, errors: Sequence[FieldError] = (), hint: str = "") -> None:
        first_line = (type(self).__doc__ or "").strip().splitlines()[0]
        self.message = message or first_line
        self.errors = tuple(errors)[:MAX_FIELD_ERRORS]
        self.hint = hint
        super().__init__(self.message)

    def to_body(self) -> ErrorBody:
        """The form that travels."""
        return ErrorBody(self.code, self.message, self.errors, self.hint)


class Answered(WarrenError):
    """The request was understood and declined."""


class BadInput(Answered):
    """The input has the wrong shape or meaning."""

    code = "bad_input"


class MalformedBody(Answered):
    """The body is not what its content type says."""

    code = "malformed_body"


class TooLarge(Answered):
    """The input is over a limit."""

    code = "too_large"


class Unauthenticated(Answered):
    """This call needs a valid API key."""

    code = "unauthenticated"


class Forbidden(Answered):
    """This API key does not allow this call."""

    code = "forbidden"


class NotFound(Answered):
    """There is no such thing."""

    code = "not_found"


class ModelNotFound(NotFound):
    """There is no model of this name."""

    code = "model_not_found"


class VersionNotFound(NotFound):
    """The model has no such version."""

    code = "version_not_found"


class AliasNotFound(NotFound):
    """The model has no such alias."""

    code = "alias_not_found"


class DatasetNotFound(NotFound):
    """There is no dataset of this id."""

    code = "dataset_not_found"


class JobNotFound(NotFound):
    """There is no job of this id."""

    code = "job_not_found"


class Conflict(Answered):
    """The request conflicts with the present state."""

    code = "conflict"


class VersionInUse(Conflict):
    """An alias names this version; move or delete the alias first."""

    code = "version_in_use"


class DatasetInUse(Conflict):
    """A job that has not ended uses this dataset; wait for it or cancel it first."""

    code = "dataset_in_use"


class StaleChampion(Conflict):
    """The alias moved since this version was compared with it."""

    code = "stale_champion"


class ModelCorrupt(Answered):
    """The stored artefact of this version fails verification and is not served."""

    code = "model_corrupt"


class TrainingFailed(Answered):
    """The estimator cannot be trained on this data."""

    code = "training_failed"


class Cancelled(Answered):
    """The work was cancelled."""

    code = "cancelled"


class StorageFull(Answered):
    """The volume has no room left."""

    code = "storage_full"


class InferenceCrashed(Answered):
    """Computing this request ended the process that did it, twice."""

    code = "inference_crashed"


class RetryAlone(Answered):
    """A batch was delivered a second time; its requests must be sent one by one."""

    code = "retry_alone"


class Stopping(Answered):
    """The process that did this was told to stop before it was done; another one begins it anew."""

    code = "stopping"


class InternalError(Answered):
    """An unexpected error happened; the log has the details under this request id."""

    code = "internal_error"


class NotAnswered(WarrenError):
    """Nobody answered."""


class Unroutable(NotAnswered):
    """No process is there to do this work at the moment."""

    code = "unroutable"


class Overloaded(NotAnswered):
    """Too much work is waiting at the moment."""

    code = "overloaded"


class DeadlineExceeded(NotAnswered):
    """The deadline passed before there was an answer."""

    code = "deadline_exceeded"


class BrokerUnavailable(NotAnswered):
    """The message broker cannot be reached or does not accept messages at the moment."""

    code = "broker_unavailable"


class LedgerUnavailable(NotAnswered):
    """The job ledger cannot be reached or does not answer in time at the moment."""

    code = "ledger_unavailable"


def _tree(root: type[WarrenError]) -> list[type[WarrenError]]:
    return [root, *(below for child in root.__subclasses__() for below in _tree(child))]


REGISTERED: dict[str, type[WarrenError]] = {
    kind.code: kind for kind in reversed(_tree(Answered)) if "code" in vars(kind)
}
"""The errors that travel as themselves, by code; anything else arrives as InternalError."""


def from_body(body: ErrorBody) -> WarrenError:
    """The error a peer sent, as the exception it was there.

    An unknown code becomes InternalError: a newer peer may know more codes than we do.
    """
    kind = REGISTERED.get(body.code, InternalError)
    return kind(body.message, errors=body.errors, hint=body.hint)
