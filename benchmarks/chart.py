"""The chart of the README: requests per second at 64 connections, one panel for each model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.goals import TITLES
from benchmarks.plan import PEAK, WARREN
from benchmarks.results import Table
from benchmarks.servers import NAMES
from benchmarks.workloads import WORKLOADS

_COLOURS = {"warren": "#c2410c", "framework": "#64748b", "baseline": "#cbd5e1"}


def shown(table: Table, workload: str) -> list[str]:
    """Who has a bar, the fastest first: of a pair of settings only the faster one."""
    names: list[str] = []
    for name in table.servers(workload, PEAK.key):
        if name.split(",")[0] not in {one.split(",")[0] for one in names}:
            names.append(name)
    return names


def draw(table: Table, facts: Mapping[str, str], folder: Path) -> None:
    """Write ``chart.png`` and ``chart.svg``; nothing where nothing was measured."""
    panels = [one.name for one in WORKLOADS if shown(table, one.name)]
    if not panels:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "warren", "font.size": 9, "font.family": "sans-serif"}
    import matplotlib.patches
    import matplotlib.pyplot as plt

    heights = [len(shown(table, name)) for name in panels]
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    height = 1.3 + lines * (0.8 + 0.3 * max(heights))
    figure, axes = plt.subplots(lines, columns, figsize=(7 * columns, height))
    flat = list(axes.flat) if len(panels) > 1 else [axes]
    for axis, name in zip(flat, panels, strict=False):
        _panel(axis, table, name)
    for axis in flat[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle("Predictions per second over HTTP: one row a request, 64 connections", fontsize=13, weight="bold")
    note = f"{facts.get('processor', '')}, shared with the load generator; medians; x: Warren against it in one run"
    kinds = {"Warren": "warren", "serving framework, its faster setting": "framework", "written by hand": "baseline"}
    handles = [mpl.patches.Patch(color=_COLOURS[kind], label=label) for label, kind in kinds.items()]
    figure.legend(handles=handles, loc="upper center", ncols=3, frameon=False, bbox_to_anchor=(0.5, 1 - 0.32 / height))
    figure.supxlabel(note, fontsize=8, color="#475569")
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 / height))
    figure.savefig(folder / "chart.png", dpi=150)
    figure.savefig(folder / "chart.svg", metadata={"Date": None})
    plt.close(figure)


def _panel(axis: Any, table: Table, workload: str) -> None:
    names = shown(table, workload)
    speeds = [table.median(workload, PEAK.key, name, "requests_per_s") or 0.0 for name in names]
    kinds = ["warren" if name == WARREN else NAMES[name].kind for name in names]
    bars = axis.barh(names, speeds, color=[_COLOURS[kind] for kind in kinds], height=0.72)
    axis.bar_label(bars, [_label(table, workload, *pair) for pair in zip(names, speeds, strict=True)], padding=4)
    axis.invert_yaxis()
    axis.set_title(TITLES[workload], loc="left", weight="bold")
    axis.set_xlim(0, max(speeds) * 1.35)
    axis.set_xlabel("requests per second")
    axis.tick_params(left=False)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.xaxis.set_major_formatter(lambda value, _at: f"{value:,.0f}")
    for label in axis.get_yticklabels():
        label.set_weight("bold" if label.get_text() == WARREN else "normal")


def _label(table: Table, workload: str, name: str, speed: float) -> str:
    ratios = sorted(table.ratios(workload, PEAK.key, name))
    return f"{speed:,.0f}" + (f"   (Warren {ratios[len(ratios) // 2]:.1f}x)" if ratios and name != WARREN else "")
