"""The fast tier (``make faults``): every scenario with few trials, on a stack of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import pytest

from tests.faults import results
from tests.faults.scenarios import SCENARIOS
from tests.faults.scenarios.playing import Scenario, run, seed_of
from tests.faults.stage import Stage

FIRST_LANE = {"F01", "F02", "F03", "F05", "F07", "F08", "F27", "F28"}
"""What one of two processes plays, on a single stack; the other one has the rest, which takes about as long."""
FAST = [
    pytest.param(one, id=one.name, marks=pytest.mark.xdist_group("first" if one.name in FIRST_LANE else "second"))
    for one in sorted((one for one in SCENARIOS.values() if one.faults), key=lambda one: one.stage)
]


def seed(name: str) -> int:
    """Another one every time, so that many runs see many moments; printed, and given again by WARREN_FAULTS_SEED."""
    return int(os.environ.get("WARREN_FAULTS_SEED") or seed_of(name, time.time_ns()))


@pytest.mark.faults
# A kill cuts connections off in the middle of an answer, and httpx leaves their sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", FAST)
def test_the_promise_holds(scenario: Scenario, stages: Callable[[str], Stage], scoreboard: results.Results) -> None:
    assert scenario.faults is not None
    rounds, trials = scenario.faults
    for _ in range(rounds):
        done = run(scenario, lambda: stages(scenario.stage), trials, seed(scenario.name), scoreboard)
        sys.stdout.write(f"{results.as_text(done)}\n")
        assert not done.defects, results.as_text(done)
