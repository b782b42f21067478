"""Everything a call can end with but its answer; between the gateway's problem documents and your ``except``.

The tree::

    WarrenError
    ├── ApiError                 the gateway answered with a problem document (RFC 9457)
    │   ├── InvalidRequest       400, 411, 413, 415, 422   something in the request has to change
    │   ├── Unauthenticated      401                       no key, or one that does not count
    │   ├── Forbidden            403                       the key lacks the scope
    │   ├── NotFound             404
    │   ├── Conflict             409
    │   ├── Overloaded           429                       later; ``retry_after_s`` says when
    │   ├── Unavailable          502, 503                  part of the gateway is away
    │   ├── DeadlineExceeded     504                       the time the call had was too short
    │   └── ServerFault          500 and the rest          a defect, or a full disk
    ├── NotAnswered
    │   ├── ConnectionFailed     the gateway cannot be reached, or the connection broke
    │   ├── TimedOut             no answer in the time the call had
    │   └── UnexpectedAnswer     something answered, but not a Warren gateway of this version
    ├── JobFailed                the training ended without a version
    ├── JobCancelled             somebody stopped it
    ├── InvalidRows              the rows cannot be written as JSON cells; nothing was sent
    └── InvalidConfig            address, key or profile file
"""

from __future__ import annotations

from typing import Any

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One place of the input and what is wrong there; ``at`` is a path such as ``instances[3].age``."""

    at: str
    problem: str


class Problem(msgspec.Struct, frozen=True):
    """The gateway's error document. ``code`` is for programs, ``detail`` and ``hint`` are for people."""

    status: int
    code: str
    detail: str = ""
    title: str = ""
    request_id: str = ""
    errors: tuple[FieldError, ...] = ()
    hint: str = ""


class WarrenError(Exception):
    """A call did not do what it was made for; ``hint`` says what to do next, "" where nothing helps."""

    hint: str = ""


class ApiError(WarrenError):
    """The gateway declined. Look at ``code``; ``status``, ``errors``, ``hint`` and ``request_id`` say more."""

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        """``retry_after_s``: seconds the gateway asks to wait, None where it asks nothing."""
        self.problem = problem
        self.status = problem.status
        self.code = problem.code
        self.detail = problem.detail or problem.title
        self.errors = problem.errors
        self.hint = problem.hint
        self.request_id = problem.request_id
        self.retry_after_s = retry_after_s
        super().__init__(self.describe())

    @property
    def field(self) -> str:
        """The first place of the input that is wrong, "" where none is named."""
        return self.errors[0].at if self.errors else ""

    def describe(self) -> str:
        """One line for a person: what, where, and what to do."""
        places = "; ".join(f"{error.at} {error.problem}" for error in self.errors)
        parts = [self.detail, places, self.hint, f"({self.code}, {self.status}, request {self.request_id or '-'})"]
        return " ".join(part for part in parts if part)

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross processes too; the default would hand the sentence to ``__init__``."""
        return type(self), (self.problem, self.retry_after_s)


class InvalidRequest(ApiError):
    """Something in the request has to change; ``errors`` names the places."""


class Unauthenticated(ApiError):
    """The gateway needs an API key, and this is none that counts."""


class Forbidden(ApiError):
    """The key has not the scope that this call needs."""


class NotFound(ApiError):
    """There is no such model, version, alias, job or dataset, or it belongs to somebody else."""


class Conflict(ApiError):
    """The present state forbids it: an alias names the version, a job uses the dataset."""


class Overloaded(ApiError):
    """Too much is waiting; try again after ``retry_after_s``."""


class Unavailable(ApiError):
    """A part of the gateway is away; try again after ``retry_after_s``."""


class DeadlineExceeded(ApiError):
    """The time the call had passed at the gateway."""


class ServerFault(ApiError):
    """The gateway failed; its log has the details under ``request_id``."""


class NotAnswered(WarrenError):
    """No gateway answered."""

    def __init__(self, message: str, hint: str = "") -> None:
        """``message`` says what happened."""
        self.hint = hint
        super().__init__(f"{message} {hint}".strip())


class ConnectionFailed(NotAnswered):
    """The gateway cannot be reached, or the connection broke before the whole answer was there."""


class TimedOut(NotAnswered):
    """There was no answer in the time the call had."""


class UnexpectedAnswer(NotAnswered):
    """What answered speaks another language: a proxy, another service, another version."""


class _JobEnded(WarrenError):
    """``job`` is the job as it ended; ``code`` and ``message`` are the gateway's."""

    def __init__(self, job: Any, code: str, message: str) -> None:
        self.job = job
        self.code = code
        self.message = message
        super().__init__(f"{message} ({code}, job {job.job_id})")


class JobFailed(_JobEnded):
    """The training ended without a version."""


class JobCancelled(_JobEnded):
    """Somebody stopped the training."""


class InvalidRows(WarrenError, ValueError):
    """Rows that cannot be written as JSON cells; the message names the first place. Nothing was sent."""


class InvalidConfig(WarrenError):
    """The address, the key or the profile file cannot be used; the message says how to mend it."""


_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}


def of_problem(problem: Problem, retry_after_s: float | None = None) -> ApiError:
    """The exception of a problem document."""
    fallback = InvalidRequest if 400 <= problem.status < 500 else ServerFault
    return _BY_STATUS.get(problem.status, fallback)(problem, retry_after_s)
