"""Waiting until a stack can be used: every process says ready, or a report says which does not."""

from __future__ import annotations

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from deploy.native import strays
from deploy.native.layout import DeploymentError, Layout
from deploy.native.ports import taken
from deploy.native.programs import Program
from deploy.native.supervision import Supervisor, SupervisorAway

_PROBE_TIMEOUT_S = 2.0
_PAUSE_S = 0.2
_HOPELESS_S = 15.0
_TAIL_LINES = 15
# The certificate is for the name that callers use, not for the loopback address, and is nothing this question proves.
_ANY_CERTIFICATE = ssl._create_unverified_context()  # noqa: S323


def wait(layout: Layout, supervisor: Supervisor, programs: Sequence[Program], timeout_s: float) -> None:
    """Return once every program is ready.

    Raises DeploymentError with the state and the last log lines of those that are not, after
    ``timeout_s`` or as soon as one of them, or the broker that they need, kept failing for 15 s.
    """
    names = {program.name for program in programs}
    end = time.monotonic() + timeout_s
    failing_since: dict[str, float] = {}
    waiting = list(programs)
    while waiting:
        # One at a time, in the order of their start: a probe costs a starting process time.
        if ready(waiting[0]):
            waiting.pop(0)
            continue
        now = time.monotonic()
        states = _states(supervisor)
        for name in states.keys() & {*names, "broker"}:
            if states[name] == "BACKOFF":
                failing_since.setdefault(name, now)
            elif states[name] == "RUNNING":
                failing_since.pop(name, None)
        hopeless = any(now - since > _HOPELESS_S for since in failing_since.values())
        if now > end or hopeless or not states:
            late = [program.name for program in waiting if not ready(program)]
            raise DeploymentError(_report(layout, states, late))
        time.sleep(_PAUSE_S)
    if "nginx" in names:
        _check_owner(layout)


def _check_owner(layout: Layout) -> None:
    """Another stack that started at the same moment may answer in place of ours."""
    holders = strays.listeners(layout.port)
    if not {*holders} & {*strays.find(layout.home)}:
        raise DeploymentError(
            f"Port {layout.port} was taken by {strays.listener(layout.port)} while this stack started. "
            "Run `make down`, choose another WARREN_PORT, and run `make up` again."
        )


def ready(program: Program) -> bool:
    """Whether a program can be used, as far as it can be asked."""
    if program.ready_url:
        return answers(program.ready_url)
    return not program.ready_port or taken(program.ready_port)


def answers(url: str) -> bool:
    """Whether a GET answers 200."""
    try:
        with urllib.request.urlopen(  # noqa: S310 - an address of this machine, built here
            url, timeout=_PROBE_TIMEOUT_S, context=_ANY_CERTIFICATE
        ) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def _states(supervisor: Supervisor) -> dict[str, str]:
    try:
        return {one.name: one.state for one in supervisor.processes()}
    except SupervisorAway:
        return {}


def _report(layout: Layout, states: dict[str, str], names: Sequence[str]) -> str:
    if not states:
        return f"The supervisor ended. Its log: {layout.logs}/supervisord.log\n{_tail(layout, 'supervisord')}"
    parts = [f"Not ready: {', '.join(names)}."]
    # Everything waits for the broker, so without it the others' logs say nothing more.
    for name in ["broker"] if "broker" in names else names:
        parts.append(
            f"--- {name} ({states.get(name, 'unknown')}), end of {layout.logs}/{name}.log:\n{_tail(layout, name)}"
        )
    parts.append("Mend what the lines above say, then run `make up` again; `make down` stops what is running.")
    return "\n".join(parts)


def _tail(layout: Layout, name: str) -> str:
    file = layout.logs / f"{name}.log"
    if not file.exists():
        return "(no line was written)"
    return "\n".join(file.read_text(errors="replace")[-20_000:].splitlines()[-_TAIL_LINES:]) or "(no line was written)"
