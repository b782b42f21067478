"""``make large-file``: predict a file of two million rows with the command, and every row with scikit-learn.

Trains the mixed table on the running stack if it is not there, writes the file, runs ``warren
predict`` on it as a process of its own whose memory is measured, and compares every prediction and
probability with those of the fitted pipeline (``model.joblib``) in this process. Exit status 1
when one differs or the command grew beyond its bound.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from loadtests.large_file import files
from loadtests.mixed import models
from loadtests.mixed.models import Table
from loadtests.mixed.truth import TOLERANCE, Truth

TABLE = next(table for table in models.TABLES if table.name == "mix-visits")
"""Numbers, texts, booleans and dates, with missing cells."""
LOOK_S = 0.05
"""Seconds between two looks at the command's peak, which only grows."""
MOST_MB = 100
"""Megabytes the command may take at its peak, however many rows there are; Python with httpx takes 45."""


def predict(url: str, path: Path, out: Path, extra: list[str]) -> tuple[float, float]:
    """Run the command: its seconds and its peak in megabytes. Raises CalledProcessError."""
    command = [sys.executable, "-m", "warren", "predict", TABLE.name, str(path), "-o", str(out), "--url", url]
    began, peak_mb = time.monotonic(), 0.0
    process = subprocess.Popen([*command, "--only-predictions", "--probabilities", *extra])
    # wait4's figure would count this process, whose memory the child shares until it is another program.
    while process.poll() is None:
        peak_mb = max(peak_mb, _peak_mb(process.pid))
        time.sleep(LOOK_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.monotonic() - began, peak_mb


def _peak_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def compare(table: Table, truth: Truth, rows: int, out: Path) -> tuple[int, float]:
    """How many rows differ from scikit-learn, and the seconds that scikit-learn took for all of them."""
    assert truth.classes is not None
    written = files.predicted(out)
    differing, seconds = 0, 0.0
    order = [table.columns.index(name) for name in truth.names]
    for piece in files.pieces(table, rows):
        began = time.monotonic()
        right = truth.answers([[row[place] for place in order] for row in piece])
        seconds += time.monotonic() - began
        assert right.probabilities is not None
        for shares, line in zip(right.probabilities.tolist(), islice(written, len(piece)), strict=True):
            told = [float(line[f"probability_{name}"]) for name in truth.classes]
            near = all(abs(one - other) <= TOLERANCE for one, other in zip(told, shares, strict=True))
            # A row on the edge may fall to either side within the tolerance; its label must be its most probable.
            differing += not near or told[truth.classes.index(line["prediction"])] < max(told)
    return differing + sum(1 for _ in written), seconds


def main(arguments: list[str]) -> int:
    """Run as told; gives the exit status."""
    parser = argparse.ArgumentParser(prog="make large-file", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the stack's address")
    parser.add_argument("--rows", type=int, default=2_000_000)
    options, extra = parser.parse_known_args(arguments)
    models.ensure(options.url, TABLE)
    truth = Truth(options.url, TABLE.name, len(TABLE.versions))
    with tempfile.TemporaryDirectory(prefix="warren-bulk-") as folder:
        path, out = Path(folder) / "rows.csv", Path(folder) / "predicted.csv"
        files.write(TABLE, options.rows, path)
        size_mb = path.stat().st_size / 1e6
        seconds, peak_mb = predict(options.url, path, out, extra)
        differing, own_s = compare(TABLE, truth, options.rows, out)
    print(  # noqa: T201 - the command's output
        f"{options.rows:,} rows ({size_mb:.0f} MB): warren predict {seconds:.1f} s, "
        f"{options.rows / seconds:,.0f} rows/s, peak {peak_mb:.0f} MB\n"
        f"scikit-learn in process: {own_s:.1f} s, {options.rows / own_s:,.0f} rows/s (rows already in memory)\n"
        f"rows that differ: {differing}"
    )
    return 0 if not differing and peak_mb <= MOST_MB else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
