"""One thing that was looked at, and the bound on looking.

Between the parts of a diagnosis and its answer. A look that fails or takes too long is itself a
finding: a diagnosis always comes back, and in time.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, Literal

import anyio
import msgspec

from wire import errors, logs

Status = Literal["ok", "warning", "failed"]
"""How a check ended; ``warning``: it works, but somebody should look."""

LOOK_S: Final = 2.0
"""Seconds for one look; all run at the same time."""
FREE_WARNING, FREE_FAILED = 0.1, 0.02
"""Shares of a disk that should be free: below the first somebody should look, below the second work stops."""
_GIB = 1024**3
_ORDER: Final[tuple[Status, ...]] = ("ok", "warning", "failed")


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was looked at: its name, how it is, what was seen, and what to do about it."""

    name: str
    status: Status
    detail: str
    mend: str = ""


def worst(checks: list[Check]) -> Status:
    """The status of them all."""
    return max((check.status for check in checks), key=_ORDER.index, default="ok")


async def look(name: str, checks: Awaitable[list[Check]], mend: str) -> list[Check]:
    """The checks of one part; one that says why there are none, with ``mend``, where the look failed."""
    try:
        with anyio.fail_after(LOOK_S):
            return await checks
    except TimeoutError:
        return [Check(name, "failed", f"did not answer in {LOOK_S:.0f} s", mend)]
    except errors.WarrenError as error:
        return [Check(name, "failed", error.message, mend)]
    except OSError as error:
        return [Check(name, "failed", error.strerror or type(error).__name__, mend)]
    except Exception:
        logs.log("request.failed", level="ERROR", exc_info=True, check=name)
        return [Check(name, "failed", "could not be looked at; the log has the details", mend)]


def room(name: str, free_bytes: int, size_bytes: int, seen: str, mend: str) -> Check:
    """How much of a disk is free; ``seen`` is what else was found out about it."""
    share = free_bytes / size_bytes if size_bytes else 0.0
    status: Status = "failed" if share < FREE_FAILED else "warning" if share < FREE_WARNING else "ok"
    detail = f"{seen}, {free_bytes / _GIB:.1f} GiB free ({share:.0%})"
    return Check(name, status, detail, "" if status == "ok" else mend)
