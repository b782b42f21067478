"""``warren doctor``: look at everything between here and a prediction, and say what to mend.

Between the command line and GET /diagnosis; what only this side can see (the address, the way
there, this machine's clock) is looked at here.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from warren import errors
from warren.admin import Check
from warren.client import Client
from warren.command import exits
from warren.command.session import Session, command

SKEW_S = 2.0
"""Seconds two clocks may differ before it is worth a warning."""
SLOW_S = 0.5
"""Seconds a round trip to the gateway may take before it is worth a warning."""
_ON_THE_MACHINE = "On the gateway's machine: make status, make logs"
_MARKS = {"ok": "ok     ", "warning": "WARNING", "failed": "FAILED "}


@click.command()
@command
def doctor(session: Session) -> int:
    """Examine the gateway and the way to it, and say what to mend. Exit status 1 if a check failed.

    With keys required, the inside is told to an admin's key only; without one, what is missing is
    all that can be seen.
    """
    checks = list(_looked_at(session))
    status = "failed" if any(check.status == "failed" for check in checks) else "ok"
    session.show({"url": session.client.url, "status": status, "checks": checks}, lambda: _report(session, checks))
    return exits.FAILED if status == "failed" else exits.OK


def _looked_at(session: Session) -> Iterator[Check]:
    client = session.client
    began = time.monotonic()
    try:
        said = client.ping()
    except errors.NotAnswered as error:
        yield Check("gateway", "failed", f"{client.url}: {error}", "Start it (`make up`), or mend the address.")
        return
    except errors.ApiError as error:
        yield _failed("gateway", error)
        yield from _readiness(client)
        return
    took_s = time.monotonic() - began
    slow = took_s > SLOW_S
    mend = "Look at the network between here and the gateway." if slow else ""
    yield Check("gateway", "warning" if slow else "ok", f"{client.url} answers in {took_s * 1000:.0f} ms", mend)
    yield _clock(said.get("date", ""))
    try:
        yield from client.diagnosis().checks
    except (errors.Unauthenticated, errors.Forbidden) as error:
        mend = error.hint or "Give an admin's key to see the inside of the gateway."
        yield Check("key", "warning", error.detail, mend)
        yield from _readiness(client)
    except errors.NotFound:
        yield Check("diagnosis", "warning", "this gateway is older than the command", "Update one of them.")
        yield from _readiness(client)
    except errors.WarrenError as error:
        yield _failed("diagnosis", error)
        yield from _readiness(client)


def _readiness(client: Client) -> Iterator[Check]:
    try:
        health = client.readiness()
    except errors.WarrenError as error:
        yield _failed("ready", error)
        return
    if not health.reasons:
        yield Check("ready", "ok", "every part is there")
    for name, reason in health.reasons.items():
        yield Check(name, "failed", reason, _ON_THE_MACHINE)


def _failed(name: str, error: errors.WarrenError) -> Check:
    if isinstance(error, errors.ApiError):
        return Check(name, "failed", f"{error.detail} ({error.code}, {error.status})", error.hint or _ON_THE_MACHINE)
    return Check(name, "failed", str(error), _ON_THE_MACHINE)


def _clock(date: str) -> Check:
    try:
        theirs = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return Check("this clock", "warning", "the gateway tells no time", "Is a proxy between here and there?")
    # The header has whole seconds.
    skew_s = abs((datetime.now(UTC) - theirs.astimezone(UTC)).total_seconds()) - 1.0
    if skew_s > SKEW_S:
        told = f"differs from the gateway's by about {skew_s:.0f} s"
        return Check("this clock", "warning", told, "Set both clocks by NTP; times in lists will look odd.")
    return Check("this clock", "ok", "agrees with the gateway's")


def _report(session: Session, checks: list[Check]) -> str:
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{_MARKS[check.status]}  {check.name.ljust(width)}  {check.detail}")
        if check.mend:
            lines.append(f"{' ' * (len(_MARKS['ok']) + width + 4)}-> {check.mend}")
    return "\n".join(lines)
