"""Writes what was measured: ``results.md``, ``results.json``, and the chart's two files."""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from benchmarks import chart, goals, plan
from benchmarks.goals import TITLES, Goal
from benchmarks.measurements import File
from benchmarks.results import Table
from benchmarks.servers import HERE
from benchmarks.workloads import WORKLOADS

_SHOWN = ("bentoml", "fastapi", "litserve", "mlflow", "mlserver", "onnxruntime", "ray", "scikit-learn", "uvicorn")


def machine() -> dict[str, str]:
    """What it runs on, in words that name no host and no path."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "processor": f"{psutil.cpu_count()} x {model[1] if model else platform.machine()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "nginx": _version(["nginx", "-v"]),
        "wrk": _version(["wrk", "-v"]),
    }


def versions() -> dict[str, str]:
    """The peers' versions, as pinned."""
    pins: dict[str, str] = {}
    for file in sorted((HERE / "peers").glob("*/requirements.txt")):
        for name, version in re.findall(r"^([a-z0-9_-]+)(?:\[.*?\])?==(\S+)", file.read_text(), re.MULTILINE):
            if name in _SHOWN:
                pins.setdefault(name, version)
    return pins


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "?"
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "?"


def write(raw: File, folder: Path) -> None:
    """Write everything into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = raw.blocks()
    table, memory = Table(blocks), raw.memory()
    rows = goals.evaluate(table, memory)
    facts = raw.machine() | {"minutes": f"{raw.minutes():.0f}"}
    (folder / "results.md").write_text("\n".join(_page(table, rows, memory, facts, raw)) + "\n")
    stored = {
        "machine": facts,
        "versions": versions(),
        "memory_mb": memory,
        "goals": [_plain(goal) for goal in rows],
        "measurements": {key: [_rounded(turn) for turn in turns] for key, turns in blocks.items()},
    }
    (folder / "results.json").write_text(json.dumps(stored, indent=1) + "\n")
    chart.draw(table, facts, folder)


def _plain(goal: Goal) -> dict[str, object]:
    return _rounded(vars(goal) | {"ratios": [round(x, 4) for x in goal.ratios]}) | {
        "reached": None if goal.reached is None else round(goal.reached, 4),
        "verdict": goal.verdict,
    }


def _rounded(figures: dict[str, object]) -> dict[str, object]:
    return {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in figures.items()}


def _page(
    table: Table, rows: Sequence[Goal], memory: dict[str, dict[str, float]], facts: dict[str, str], raw: File
) -> Iterable[str]:
    yield from ("# Warren beside its peers", "", "![Requests per second](chart.svg)", "")
    yield "; ".join(f"{name} {value}" for name, value in facts.items()) + "."
    yield "Peers: " + ", ".join(f"{name} {version}" for name, version in versions().items()) + "."
    yield "How it was measured: [../README.md](../README.md). Compare ratios of one run, never figures of two machines."
    short = goals.missed(rows)
    yield from ("", "## Goals", "")
    held = sum(goal.verdict == "held" for goal in rows)
    yield f"{held} held, {len(short)} missed, {len(rows) - held - len(short)} not measured."
    yield from ("", "| work | connections | against | figure | Warren | other | goal | reached (rounds) | |")
    yield "|---|---|---|---|---|---|---|---|---|"
    yield from map(_goal, rows)
    yield from ("", f"Answers compared with scikit-learn's: {_compared(table):,}.")
    yield f"Wrong: {_faults(table.faults('wrong'))}. Errors under load: {_faults(table.faults('errors'))}."
    if raw.failures():
        yield "Not measured: " + ", ".join(sorted(raw.failures())) + "."
    for workload in WORKLOADS:
        yield from _details(table, workload.name)
    yield from _memory(memory)


def _goal(goal: Goal) -> str:
    ratios = ", ".join(f"{ratio:.2f}" for ratio in goal.ratios)
    reached = "-" if goal.reached is None else f"**{goal.reached:.2f}x** ({ratios})"
    sense = "at least" if goal.least else "no more than"
    ours, theirs = ("-" if x is None else f"{x:,.0f}" if x >= 100 else f"{x:.2f}" for x in (goal.ours, goal.theirs))
    return (
        f"| {goal.work} | {goal.connections} | {goal.against} | {goal.figure} | {ours} | {theirs} "
        f"| {sense} {goal.wanted:g}x | {reached} | {goal.verdict} |"
    )


def _compared(table: Table) -> int:
    """Checks, large bodies and open loops keep their answers; wrk doesn't."""
    kept = [cell.key for cell in plan.CELLS if cell.way != "closed"]
    return sum(turn["requests"] for one in WORKLOADS for key in kept for turn in table.turns(one.name, key))


def _faults(found: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items())) or "none"


def _details(table: Table, workload: str) -> Iterable[str]:
    for cell in plan.CELLS:
        names = table.servers(workload, cell.key)
        if not names or cell is plan.CHECK:
            continue
        yield from ("", f"## {TITLES[workload].capitalize()}: {_cell(cell)}", "")
        yield "| server | requests/s | rows/s | p50 ms | p99 ms | p99.9 ms | errors | CPU s per 1,000 | MB (PSS) |"
        yield "|---|---|---|---|---|---|---|---|---|"
        for name in names:
            if cell is not plan.OPEN or name != plan.WARREN:
                yield _line(table, workload, cell, name)


def _cell(cell: plan.Cell) -> str:
    if cell is plan.OPEN:
        return "1 row, open loop at half of each peer's peak"
    form = ", each in its own fastest format" if cell is plan.OWN else ""
    return (
        f"{cell.rows:,} row{'s' * (cell.rows > 1)}, {cell.connections} connection{'s' * (cell.connections > 1)}{form}"
    )


def _line(table: Table, workload: str, cell: plan.Cell, name: str) -> str:
    def median(figure: str) -> float:
        return table.median(workload, cell.key, name, figure) or 0.0

    errors = sum(turn["errors"] for turn in table.turns(workload, cell.key, name))
    speed = median("requests_per_s")
    return (
        f"| {name} | {speed:,.0f} | {speed * cell.rows:,.0f} | {median('p50_ms'):.2f} | {median('p99_ms'):.1f} "
        f"| {median('p999_ms'):.1f} | {errors} | {median('cpu_s_per_1000'):.2f} | {median('pss_bytes') / 1e6:,.0f} |"
    )


def _memory(memory: dict[str, dict[str, float]]) -> Iterable[str]:
    if not memory:
        return
    yield from ("", "## Memory, one logistic regression, idle", "", "| server | process | MB (PSS) |", "|---|---|---|")
    for name, processes in memory.items():
        for process, megabytes in processes.items():
            yield f"| {name} | {process} | {megabytes:,.0f} |"
        yield f"| {name} | **sum** | **{sum(processes.values()):,.0f}** |"
