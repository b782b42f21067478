"""``make bench``: sets up the peers, checks every server's answers, measures, and draws the result.

Run it again after an interruption and it goes on where it stopped; ``--fresh`` begins anew. Needs
``wrk``. Results go to ``benchmarks/results/``; those of ``--only`` to ``var/bench/part/``.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from benchmarks import measurements, memory, plan, processes, report, stack
from benchmarks.campaign import Campaign
from benchmarks.progress import Progress
from benchmarks.servers import HERE, PEERS
from benchmarks.warren_side import Warren
from benchmarks.workloads import WORKLOADS

WORK = HERE.parent / "var" / "bench"


def environment(name: str) -> Path:
    """The bin folder of a peer's own virtual environment, made from its pinned requirements."""
    folder = WORK / "environments" / name
    pins = HERE / "peers" / name / "requirements.txt"
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != pins.read_text():
        sys.stderr.write(f"installing {name}\n")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "-q", "-r", str(pins)]
        subprocess.run(pip, check=True, stdout=subprocess.DEVNULL)
        stamp.write_text(pins.read_text())
    return folder / "bin"


def main() -> None:
    """Run what is missing, then write the report."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="forget earlier measurements and begin anew")
    parser.add_argument("--only", help="run a part: model/server/cell, each a part of its name or empty")
    parser.add_argument("--report", action="store_true", help="only draw the report from what was measured")
    parser.add_argument("--rounds", type=int, default=plan.ROUNDS, help="repetitions (default: %(default)s)")
    parser.add_argument("--plan", action="store_true", help="only say what would run and how long it takes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    WORK.mkdir(parents=True, exist_ok=True)
    part = WORK / "part" / options.only.replace("/", "-").replace(" ", "-") if options.only else None
    raw = measurements.File((part or WORK) / "measurements.jsonl")
    blocks = plan.blocks(options.only, options.rounds)
    if options.plan:
        sys.stdout.write(_said(blocks))
        return
    finished = {block.key for block in blocks} <= raw.complete()
    if options.fresh or (part and finished and not options.report):
        raw.forget()
    if not options.report:
        measure(blocks, raw, with_memory=part is None)
    report.write(raw, part or HERE / "results")


def _said(blocks: Sequence[plan.Block]) -> str:
    lines = [f"{block.key:26} {block.seconds:5.0f} s  {', '.join(block.servers)}" for block in blocks]
    return "\n".join([*lines, f"about {plan.seconds(blocks) / 60:.0f} minutes", ""])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def measure(blocks: Sequence[plan.Block], raw: measurements.File, *, with_memory: bool) -> None:
    """Every block that has no result yet."""
    processes.clear(WORK)
    stack.stop(WORK / "warren")
    for name in sorted({server.environment for server in PEERS}):
        environment(name)
    done = raw.complete()
    todo = [block for block in blocks if block.key not in done]
    began = time.monotonic()
    if with_memory and not raw.memory():
        sys.stderr.write("memory: a stack with one model, idle for a minute\n")
        raw.add({"memory": memory.measure(WORK, environment), "took_s": round(time.monotonic() - began)})
    if not todo:
        return
    if not done:
        shutil.rmtree(WORK / "warren", ignore_errors=True)
    with stack.started(WORK / "warren") as running:
        for workload in WORKLOADS:
            if any(block.workload == workload for block in todo):
                Warren(running.url).train(workload, WORK / "models" / workload.name)
        raw.add({"machine": report.machine(), "at": time.strftime("%Y-%m-%d %H:%M")})
        with Progress(todo) as progress:
            Campaign(running, WORK, environment, raw, progress).run(todo)
    raw.add({"run_s": round(time.monotonic() - began), "blocks": len(todo)})


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; run it again and it goes on\n")
        sys.exit(130)
