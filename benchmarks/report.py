"""From raw measurements to the table of ratios and the chart."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks import plan
from benchmarks.workloads import WORKLOADS

Result = dict[str, Any]
WARREN = "Warren"
INLINE, GRAPH, EMPTY, TUTORIAL = (
    "FastAPI inline",
    "FastAPI with ONNX Runtime",
    "empty FastAPI endpoint",
    "RabbitMQ RPC as in tutorials",
)
BASELINES = (INLINE, GRAPH, EMPTY, TUTORIAL)


def read(raw: Path) -> dict[str, Result]:
    """Results so far by step; failed steps are left out, so that they are tried again."""
    if not raw.exists():
        return {}
    results = [json.loads(line) for line in raw.read_text().splitlines()]
    return {result["step"]: result for result in results if "failed" not in result}


def open_loop_rates(step: plan.Step, found: Result, raw: Path) -> dict[str, float]:
    """Half of each peer's peak: for a peer its own, for Warren every peer's measured so far."""
    if step.server is not None:
        return {step.server.name: found["1x64"]["requests_per_s"] / 2}
    peaks = {
        key.split("/", 2)[2]: result["cells"]["1x64"]["requests_per_s"]
        for key, result in read(raw).items()
        if key.startswith("0/logistic/") and "1x64" in result["cells"] and WARREN not in key
    }
    return {name: peak / 2 for name, peak in peaks.items() if name not in BASELINES}


class Table:
    """Medians over the rounds, by workload, server and cell."""

    def __init__(self, results: dict[str, Result]) -> None:
        self._results = results

    def servers(self, workload: str) -> list[str]:
        """Servers that have results for a workload."""
        return sorted({key.split("/", 2)[2] for key in self._results if key.split("/")[1] == workload})

    def median(self, workload: str, server: str, cell: str, figure: str) -> float | None:
        """The median of one figure, None where it was not measured."""
        values = [
            result["cells"][cell][figure]
            for key, result in self._results.items()
            if key.split("/", 1)[1] == f"{workload}/{server}" and cell in result["cells"]
        ]
        return statistics.median(values) if values else None

    def best(self, workload: str, cell: str) -> tuple[str, float]:
        """The peer (serving frameworks only) with most requests per second."""
        peers = [name for name in self.servers(workload) if name not in (*BASELINES, WARREN)]
        found = [(self.median(workload, name, cell, "requests_per_s") or 0.0, name) for name in peers]
        speed, name = max(found, default=(0.0, "-"))
        return name, speed


def goals(table: Table) -> list[tuple[str, str, float, str, float | None]]:
    """The goals: (work, against, wanted, at least or at most, reached)."""
    rows: list[tuple[str, str, float, str, float | None]] = []

    def speed(workload: str, cell: str, other: str, wanted: float) -> None:
        ours = table.median(workload, WARREN, cell, "requests_per_s")
        name, theirs = (
            table.best(workload, cell)
            if other == "best"
            else (other, table.median(workload, other, cell, "requests_per_s") or 0.0)
        )
        ratio = ours / theirs if ours and theirs else None
        rows.append((f"{workload}, {cell}", name, wanted, "at least", ratio))

    def median_latency(workload: str, other: str, wanted: float) -> None:
        name = table.best(workload, "1x64")[0] if other == "best" else other
        ours, theirs = (table.median(workload, who, "1x1", "p50_ms") for who in (WARREN, name))
        rows.append(
            (f"{workload}, 1x1, median latency", name, wanted, "at most", ours / theirs if ours and theirs else None)
        )

    for other, wanted in (("best", 6), (INLINE, 5), (EMPTY, 1.2), (GRAPH, 1), (TUTORIAL, 50)):
        speed("logistic", "1x64", other, wanted)
    median_latency("logistic", INLINE, 1.2)
    median_latency("logistic", "best", 0.2)
    speed("forest", "1x64", "best", 8)
    speed("forest", "1x64", INLINE, 40)
    median_latency("forest", INLINE, 0.2)
    for workload, wanted in (("boosting", 6), ("mixed", 10)):
        speed(workload, "1x64", "best", 6)
        speed(workload, "1x64", INLINE, wanted)
    for workload_ in WORKLOADS:
        speed(workload_.name, "100x16", "best", 4)
    for workload_ in WORKLOADS:
        speed(workload_.name, "10000x4", "best", 3)
    return rows


def write(raw: Path, folder: Path) -> None:
    """Write ``results.md``, ``results.json``, ``chart.png`` and ``chart.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    results = read(raw)
    table = Table(results)
    lines = [
        "# Warren beside its peers",
        "",
        "Medians of the rounds; every server ran on the same machine in one run.",
        "",
    ]
    lines += ["| work (rows x connections) | against | goal | reached |", "|---|---|---|---|"]
    for work, against, wanted, sense, reached in goals(table):
        lines.append(f"| {work} | {against} | {sense} {wanted:g}x | {'-' if reached is None else f'{reached:.2f}x'} |")
    for workload in WORKLOADS:
        lines += ["", f"## {workload.name}", "", "| server | " + " | ".join(c.key for c in plan.CELLS) + " |"]
        lines.append("|---|" + "---|" * len(plan.CELLS))
        for server in table.servers(workload.name):
            lines.append(
                f"| {server} | " + " | ".join(_cell(table, workload.name, server, c.key) for c in plan.CELLS) + " |"
            )
    wrong = {key: result["wrong"] for key, result in results.items() if result.get("wrong")}
    lines += ["", "Requests per second, median latency and p99 in ms, errors if any.", ""]
    lines.append(f"Answers that were not scikit-learn's: {wrong or 'none'}.")
    (folder / "results.md").write_text("\n".join(lines) + "\n")
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    _chart(table, folder)


def _cell(table: Table, workload: str, server: str, cell: str) -> str:
    figures = [table.median(workload, server, cell, name) for name in ("requests_per_s", "p50_ms", "p99_ms", "errors")]
    if figures[0] is None:
        return ""
    return f"{figures[0]:,.0f}, {figures[1]:.2f}, {figures[2]:.1f}" + (
        f", {figures[3]:.0f} errors" if figures[3] else ""
    )


def _chart(table: Table, folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(WORKLOADS), figsize=(16, 5), sharey=True)
    names = sorted({name for w in WORKLOADS for name in table.servers(w.name)}, key=lambda name: (name != WARREN, name))
    for panel, workload in zip(panels, WORKLOADS, strict=True):
        speeds = [table.median(workload.name, name, "1x64", "requests_per_s") or 0 for name in names]
        colours = ["#c2410c" if name == WARREN else "#94a3b8" for name in names]
        panel.barh(names, speeds, color=colours)
        panel.bar_label(panel.containers[0], fmt="{:,.0f}", padding=3, fontsize=8)
        panel.set_title(workload.name)
        panel.margins(x=0.2)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.suptitle("Requests per second, one row a request, 64 connections")
    figure.tight_layout()
    figure.savefig(folder / "chart.png", dpi=110)
    figure.savefig(folder / "chart.svg")
