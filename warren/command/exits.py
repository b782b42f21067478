"""How a command ends: its exit status, and what it says on the way out.

Between the errors of ``warren.errors``, or of files, and a shell. The statuses are documented in docs/command.md.
"""

from __future__ import annotations

from typing import Any

from warren import errors

OK = 0
"""It did what it says."""
FAILED = 1
"""The work itself failed: a training, some rows of a prediction, a check of the doctor, a file."""
USAGE = 2
"""The command line or the configuration is wrong."""
REFUSED = 3
"""The gateway refused the request: unknown names, bad values, conflicts."""
DENIED = 4
"""The gateway wants a key, or one with another scope."""
AWAY = 5
"""The gateway is away, overloaded or too slow: the same command may work later."""
DEFECT = 6
"""The gateway failed, or what answered is none."""
INTERRUPTED = 130
"""Ctrl-C."""

Error = errors.WarrenError | OSError
"""What a command can end with."""

_STATUS: tuple[tuple[type[Error], int], ...] = (
    (errors.Unauthenticated, DENIED),
    (errors.Forbidden, DENIED),
    (errors.Overloaded, AWAY),
    (errors.Unavailable, AWAY),
    (errors.DeadlineExceeded, AWAY),
    (errors.ServerFault, DEFECT),
    (errors.ApiError, REFUSED),
    (errors.UnexpectedAnswer, DEFECT),
    (errors.NotAnswered, AWAY),
    (errors.InvalidConfig, USAGE),
    (errors.WarrenError, FAILED),
    (OSError, FAILED),
)

_NEXT: tuple[tuple[type[errors.WarrenError], str], ...] = (
    (errors.Unauthenticated, "Set WARREN_API_KEY, or put the key into a profile; `make key` makes the first one."),
    (errors.Forbidden, "Ask an admin for a key with the scope: warren keys create OWNER --scope SCOPE"),
    (errors.NotFound, "See what there is: warren models, warren jobs, warren datasets list"),
    (errors.Overloaded, "Run it again in a moment; fewer requests at once (--in-flight) help too."),
    (errors.Unavailable, "Run it again in a moment; warren doctor says what is missing."),
    (errors.DeadlineExceeded, "Give it more time (--timeout), or look at warren doctor."),
    (errors.ServerFault, "Its log has the details under the request's id."),
)


def status_of(error: Error) -> int:
    """The exit status for an error."""
    return next(status for kind, status in _STATUS if isinstance(error, kind))


def next_step(error: Error) -> str:
    """What to do about it, "" where the error's own words say it."""
    own = error.hint if isinstance(error, errors.ApiError) else ""
    return own or next((step for kind, step in _NEXT if isinstance(error, kind)), "")


def told(error: Error) -> str:
    """An error for a person: what, where, which request, and the next step."""
    if not isinstance(error, errors.ApiError):
        return f"Error: {_sentence(error)}"
    lines = [f"Error: {error.detail} ({error.code}, {error.status})"]
    lines += [f"  {place.at}: {place.problem}" for place in error.errors]
    lines += [f"  request id: {error.request_id}"] if error.request_id else []
    return "\n".join([*lines, *([next_step(error)] if next_step(error) else [])])


def as_json(error: Error) -> dict[str, Any]:
    """The same for a program."""
    found: dict[str, Any] = {"error": _sentence(error), "exit": status_of(error), "next": next_step(error)}
    if isinstance(error, errors.ApiError):
        found |= {"error": error.detail, "code": error.code, "status": error.status, "request_id": error.request_id}
        found["errors"] = [{"at": place.at, "problem": place.problem} for place in error.errors]
    return found


def _sentence(error: Error) -> str:
    if not isinstance(error, OSError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
