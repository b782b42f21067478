"""The memory row: Warren's whole stack beside BentoML, each with one logistic regression, 60 s idle.

Runs before anything else and before this process loads NumPy or scikit-learn: memory is counted
in shares (PSS), and a share of a library held here would make Warren look smaller. So the model is
trained from a process that has ended by then.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import processes, stack, standing
from benchmarks.servers import NAMES
from benchmarks.workloads import WORKLOADS
from deploy.native.supervision import Supervisor

IDLE_S, OTHER_IDLE_S = 60.0, 15.0
"""Seconds without a request before memory is read; the second for BentoML's other setting."""

_QUESTION = b'{"model":"logistic","instances":[[0.1,-0.2,0.3,0.4]]}'
_ASKED = 300

Megabytes = dict[str, dict[str, float]]


def measure(work: Path, find: standing.Environment) -> Megabytes:
    """MB (PSS) by server and process. BentoML and Warren share no library, so they idle side by side."""
    home = work / "memory"
    stack.stop(home)
    shutil.rmtree(home, ignore_errors=True)
    with stack.started(home, plain_broker=False) as running:
        train = [sys.executable, "-m", "benchmarks.warren_side", running.url, "logistic", str(work / "models")]
        subprocess.run(train, check=True, timeout=300)
        _ask(f"{running.url}/predict")
        found = _bento("on", work, find, IDLE_S)
        supervisor = Supervisor(stack.layout(home)).processes()
        found["Warren"] = {one.name: _megabytes([one.pid]) for one in supervisor}
        found["Warren"]["supervisor"] = _megabytes(running.pids) - sum(found["Warren"].values())
        return found | _bento("off", work, find, OTHER_IDLE_S)


def _bento(batching: str, work: Path, find: standing.Environment, idle_s: float) -> Megabytes:
    server = NAMES[f"BentoML, batching {batching}"]
    bin_folder = find(server.environment)
    started = standing.start(server, WORKLOADS[0], standing.PEER_PORT, bin_folder, work, amqp_url="")
    try:
        processes.wait_for(started.url, _QUESTION, deadline_s=90)
        _ask(started.url)
        time.sleep(idle_s)
        return {server.name: {"all": _megabytes(started.running.pids)}}
    finally:
        started.running.stop()


def _ask(url: str) -> None:
    for _ in range(_ASKED):
        processes.post(url, _QUESTION)


def _megabytes(pids: list[int]) -> float:
    return processes.cost(pids).pss_bytes / 1e6
