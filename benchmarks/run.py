"""``make bench``: sets up the peers, checks every server's answers, measures, and draws the result.

Run it again after an interruption and it goes on where it stopped; ``--fresh`` begins anew. Needs
``wrk``. Results go to ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks import measuring, plan, processes, report, stack
from benchmarks.servers import HERE, PEERS, Server
from benchmarks.warren_side import Truth, Warren, body, decode
from benchmarks.workloads import WORKLOADS, Row, Workload

WORK = HERE.parent / "var" / "bench"
RAW = WORK / "measurements.jsonl"
PEER_PORT = 9480


def environment(name: str) -> Path:
    """The bin folder of a peer's own virtual environment, made from its pinned requirements."""
    folder = WORK / "environments" / name
    wanted = (HERE / "peers" / name / "requirements.txt").read_text()
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        progress(f"installing {name}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "-q", "-r", str(HERE / "peers" / name / "requirements.txt")]
        subprocess.run(pip, check=True, stdout=subprocess.DEVNULL)
        stamp.write_text(wanted)
    return folder / "bin"


def progress(text: str, done: int = 0, total: int = 0) -> None:
    """One line that is written over while the run goes on."""
    bar = f"[{'#' * (30 * done // total):30}] {done}/{total} " if total else ""
    sys.stderr.write(f"\r\033[K{bar}{text}")
    sys.stderr.flush()


def start(server: Server, workload: Workload, warren: stack.Stack) -> processes.Running:
    """Start a peer with the workload's model; returns when the commands run."""
    bin_folder, model = environment(server.environment), WORK / "models" / workload.name
    folder = WORK / "peers" / server.name.replace(" ", "-").replace(",", "") / workload.name
    folder.mkdir(parents=True, exist_ok=True)
    peer = HERE / "peers" / server.environment
    variables = {k: v for k, v in os.environ.items() if not k.startswith("WARREN_")}
    variables |= {
        "BENCH_MODEL": str(model),
        "BENCH_BATCHING": server.batching,
        "BENCH_AMQP": warren.tutorial_broker_url,
        "PYTHONPATH": f"{HERE / 'peers'}:{peer}",
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "BENTOML_DO_NOT_TRACK": "True",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    with (folder / "log.txt").open("ab") as log:
        for command in server.prepare(bin_folder, PEER_PORT, folder):
            done = (folder / "prepared").exists()
            if not done:
                subprocess.run(command, cwd=peer, env=variables, stdout=log, stderr=log, check=True, timeout=120)
                (folder / "prepared").touch()
    commands = server.commands(bin_folder, PEER_PORT, folder)
    return processes.Running(commands, variables, peer, folder / "log.txt")


class Target:
    """A server under test: where it is, how it is asked, whose processes it has."""

    def __init__(self, step: plan.Step, warren: stack.Stack, pids: list[int]) -> None:
        self.step = step
        self.pids = pids
        self._server = step.server
        self.url = f"http://127.0.0.1:{PEER_PORT}{step.server.path}" if step.server else f"{warren.url}/predict"

    def encode(self, rows: list[Row]) -> bytes:
        """The request for rows, in this server's form."""
        if self._server is None:
            return body(rows, self.step.workload)
        return self._server.encode(rows, self.step.workload)

    def ask(self, rows: list[Row]) -> list[object]:
        """The predictions for rows."""
        answer = processes.post(self.url, self.encode(rows), timeout_s=30)
        return decode(answer) if self._server is None else self._server.decode(answer)

    def check(self, truth: Truth) -> int:
        """Answers that are not scikit-learn's: alone, in a large request, and 400 different rows at once."""
        if self._server is not None and not self._server.compares:
            return 0
        rows = self.step.workload.rows(400, seed=77)
        wrong = int(not truth.agrees(rows, self.ask(rows)))
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda row: self.ask([row])[0], rows))
        return wrong + sum(not truth.agrees([row], [answer]) for row, answer in zip(rows, answers, strict=True))


def measure(target: Target, cell: plan.Cell) -> dict[str, object]:
    """One cell against one running server."""
    file = WORK / "bodies.txt"
    bodies = [target.encode(target.step.workload.rows(cell.rows, seed)) for seed in range(cell.bodies)]
    file.write_bytes(b"\n".join(bodies) + b"\n")
    if cell == plan.CELLS[0]:
        measuring.closed_loop(target.url, file, 16, 1)
    before = processes.cost(target.pids)
    load = measuring.closed_loop(target.url, file, cell.connections, cell.duration_s)
    after = processes.cost(target.pids)
    cpu_s = (after.cpu_s - before.cpu_s) * 1000 / max(1, load.requests)
    return asdict(load) | {"cpu_s_per_1000": cpu_s, "pss_bytes": after.pss_bytes}


def open_loops(target: Target, rates: dict[str, float]) -> dict[str, object]:
    """The open-loop latencies of one server at each given rate, by the rate's name."""
    bodies = [target.encode(target.step.workload.rows(1, seed)) for seed in range(200)]
    host, port, path = "127.0.0.1", int(target.url.split(":")[2].split("/")[0]), "/" + target.url.split("/", 3)[3]
    done = {}
    for name, rate in rates.items():
        load = asyncio.run(measuring.open_loop(host, port, path, bodies, rate, 4.0))
        done[name] = asdict(load) | {"rate": rate}
    return done


def run_step(step: plan.Step, warren: stack.Stack, truth: Truth) -> dict[str, object]:
    """Start the step's server, check it, measure its cells, stop it."""
    running = None if step.server is None else start(step.server, step.workload, warren)
    try:
        target = Target(step, warren, warren.pids if running is None else running.pids)
        first = target.encode(step.workload.rows(1, seed=5))
        processes.wait_for(target.url, first, deadline_s=90)
        wrong = target.check(truth)
        found: dict[str, object] = {}
        for cell in plan.cells(step.server, step.workload):
            found[cell.key] = measure(target, cell)
        if step.round == 0 and step.workload.name == "logistic" and "1x64" in found:
            found |= {"open": open_loops(target, report.open_loop_rates(step, found, RAW))}
        return {"step": step.key, "wrong": wrong, "cells": found}
    finally:
        if running is not None:
            running.stop()


def main() -> None:
    """Run what is missing, then write the report."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="forget earlier measurements and begin anew")
    parser.add_argument("--only", help="run only the steps whose name contains this, such as 'forest/BentoML'")
    parser.add_argument("--report", action="store_true", help="only draw the report from what was measured")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    if options.fresh:
        RAW.unlink(missing_ok=True)
    if not options.report:
        for name in sorted({server.environment for server in PEERS}):
            environment(name)
        measure_all(options.only)
    report.write(RAW, HERE / "results")


def measure_all(only: str | None) -> None:
    """Every step that has no result yet."""
    done = report.read(RAW)
    with stack.started(WORK / "warren") as warren:
        side = Warren(warren.url, warren.pids[0])
        for workload in WORKLOADS:
            side.train(workload, WORK / "models" / workload.name)
        truths = {workload.name: Truth(WORK / "models" / workload.name) for workload in WORKLOADS}
        todo = plan.steps(only)
        for number, step in enumerate(todo):
            if step.key in done:
                continue
            progress(step.key, number, len(todo))
            begin = time.monotonic()
            try:
                result = run_step(step, warren, truths[step.workload.name])
            except (TimeoutError, OSError, subprocess.SubprocessError) as error:
                result = {"step": step.key, "failed": f"{type(error).__name__}: {error}"}
            result["took_s"] = round(time.monotonic() - begin, 1)
            with RAW.open("a") as out:
                out.write(json.dumps(result) + "\n")
        progress("", len(todo), len(todo))


if __name__ == "__main__":
    main()
