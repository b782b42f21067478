"""A stack for the scenarios of the fast tier, one for each of pytest's processes, and their scoreboard."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from unittest import mock

import pytest

from tests.faults import results
from tests.faults.__main__ import show
from tests.faults.scenarios.playing import ready_stage
from tests.faults.stage import Stage
from tests.faults.tuning import PATIENT, TUNING

SCOREBOARD = results.Results("faults")
"""The rounds of this run; all of pytest's processes add to it."""


def _is_ours(session: pytest.Session) -> bool:
    """Whether this is a run of this tier, and the process that began it."""
    return session.config.getoption("markexpr") == "faults" and not hasattr(session.config, "workerinput")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin with an empty scoreboard; who is not played keeps the row in docs/reliability.md."""
    if _is_ours(session):
        SCOREBOARD.file.unlink(missing_ok=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Print the scoreboard and put it into docs/reliability.md."""
    if _is_ours(session) and not session.config.getoption("collectonly"):
        show("faults", SCOREBOARD)


@pytest.fixture(scope="package")
def stages() -> Iterator[Callable[[str], Stage]]:
    """A started stack of each kind, one at a time."""
    # A run that is ended by a time limit must not leave its stack behind.
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    running: dict[str, Stage] = {}

    def of_kind(kind: str) -> Stage:
        if kind not in running:
            for other in list(running):
                running.pop(other).remove()
            running[kind] = ready_stage(kind)
        return running[kind]

    with mock.patch.dict(TUNING, PATIENT):
        yield of_kind
    for stage in running.values():
        stage.remove()
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def scoreboard() -> results.Results:
    """Where each round is noted."""
    return SCOREBOARD
