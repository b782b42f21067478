"""``python -m loadtests.bulk``: a job of two million rows under live load, on a stack of its own.

Prints the live latency with and without the job, what the job did in a second, what each process grew
to, and what scikit-learn does with the same file in one process. Exit status 1 where the live p99 with the
job is more than 1.5 times the one without.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import random
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from deploy.native import commands
from deploy.native.layout import Layout
from deploy.native.supervision import Supervisor
from loadtests.bulk_rows import in_process, table

MOST = 1.5
"""How many times as long the live p99 may be while the job runs."""
ENDED = ("succeeded", "failed", "cancelled")
"""How jobs end."""
MODEL = "bulk-customers"
"""The model that answers both."""
_TRAINING_ROWS = 5_000


class Api:
    """The calls this needs."""

    def __init__(self, url: str) -> None:
        self._url = url

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """The answer, decoded. Raises urllib.error.HTTPError."""
        data = json.dumps(body).encode() if content_type == "application/json" and body is not None else body
        asked = urllib.request.Request(self._url + path, data, {"Content-Type": content_type}, method=method)
        with urllib.request.urlopen(asked, timeout=300) as answer:
            return json.load(answer)

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job once it has ended."""
        while True:
            job: dict[str, Any] = self.call("GET", f"/jobs/{job_id}")
            if job["status"] in ENDED:
                return job
            time.sleep(0.2)

    def upload(self, file: Path) -> str:
        """The id of a dataset."""
        with file.open("rb") as body:
            asked = urllib.request.Request(
                self._url + "/datasets",
                body,
                {"Content-Type": "text/csv", "Content-Length": str(file.stat().st_size)},
                method="POST",
            )
            with urllib.request.urlopen(asked, timeout=300) as answer:
                return str(json.load(answer)["dataset_id"])


Span = tuple[float, float]
"""From a moment to a later one, on the performance counter."""


@dataclass(frozen=True)
class Job:
    """A job that succeeded: when it was, when its stages were, and how many rows it had."""

    span: Span
    stages: dict[str, Span]
    rows: int


@dataclass
class Live:
    """Live predictions at a steady rate, each from one of some connections, at moments nobody knows before."""

    port: int
    rate: float
    connections: int = 8
    seconds: list[tuple[float, float]] = field(default_factory=list)
    failed: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[Live]:
        """Send until the block ends."""
        threads = [threading.Thread(target=self._send, daemon=True) for _ in range(self.connections)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(5)

    def _send(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        rows = table(50, random.randrange(2**31)).drop(columns=["left", "key"]).to_dict("records")
        bodies = [json.dumps({"model": MODEL, "instances": [row]}) for row in rows]
        while not self._ended.wait(random.expovariate(self.rate / self.connections)):
            begun = time.perf_counter()
            try:
                connection.request("POST", "/predict", random.choice(bodies), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                self.failed += answer.status != 200
            except (OSError, http.client.HTTPException):
                self.failed += 1
                connection.close()
            self.seconds.append((begun, time.perf_counter() - begun))

    def within(self, spans: Sequence[Span]) -> list[float]:
        """Milliseconds of what was sent within some spans of time."""
        return [took * 1000 for begun, took in self.seconds if any(start <= begun < stop for start, stop in spans)]


def described(sent: Sequence[float]) -> str:
    """Percentiles in words."""
    return f"p50 {percentile(sent, 50):.1f} ms, p99 {percentile(sent, 99):.1f} ms ({len(sent)})"


def percentile(sent: Sequence[float], percent: int) -> float:
    """One percentile; NaN of too few."""
    return statistics.quantiles(sent, n=100)[percent - 1] if len(sent) > 1 else math.nan


class Memory:
    """The most memory each process had, children included, in MB."""

    def __init__(self, layout: Layout) -> None:
        self.peaks: dict[str, float] = {}
        self._layout = layout
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join(10)

    def _watch(self) -> None:
        processes = {one.name: one.pid for one in Supervisor(self._layout).processes() if one.pid}
        while not self._ended.wait(0.5):
            for name, pid in processes.items():
                self.peaks[name] = max(self.peaks.get(name, 0.0), _megabytes(pid))


def _megabytes(pid: int) -> float:
    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total / 1e6


def prepared(api: Api, work: Path, rows: int) -> str:
    """Train the model, upload the dataset; the dataset's id."""
    training, file = work / "training.csv", work / f"rows-{rows}.csv"
    table(_TRAINING_ROWS, 1).drop(columns="key").to_csv(training, index=False)
    if not file.exists():
        table(rows, 2).drop(columns="left").to_csv(file, index=False)
    body = {
        "model": MODEL,
        "dataset": {"id": api.upload(training)},
        "target": "left",
        "estimator": "LogisticRegression",
    }
    assert api.ended(api.call("POST", "/train", body)["job_id"])["status"] == "succeeded"
    return api.upload(file)


def run_job(api: Api, dataset_id: str) -> Job:
    """One job from asking to its end, and when each of its stages was."""
    begun = time.perf_counter()
    body = {"model": MODEL, "dataset": {"id": dataset_id}, "columns": ["key"]}
    job_id = api.call("POST", "/batch-predictions", body)["job_id"]
    stages: dict[str, list[float]] = {}
    while True:
        job = api.call("GET", f"/jobs/{job_id}")
        stages.setdefault(job["progress"]["stage"], []).append(time.perf_counter())
        if job["status"] in ENDED:
            break
        time.sleep(0.2)
    assert job["status"] == "succeeded", job
    spans = {stage: (seen[0], seen[-1]) for stage, seen in stages.items() if len(seen) > 1}
    return Job((begun, time.perf_counter()), spans, job["result"]["rows"])


def measured(layout: Layout, dataset_id: str, rate: float, quiet_s: float, jobs: int) -> bool:
    """Take turns, with the job and without, and print what was seen; whether the live p99 stayed within its bound.

    Turns, because what else a machine does comes and goes.
    """
    api, live = Api(layout.url), Live(layout.port, rate)
    ran: list[Job] = []
    alone: list[Span] = []
    with live.running(), Memory(layout) as memory:
        time.sleep(3)
        for turn in range(jobs + 1):
            start = time.perf_counter()
            time.sleep(quiet_s)
            alone.append((start, time.perf_counter()))
            if turn < jobs:
                ran.append(run_job(api, dataset_id))
    without, beside = live.within(alone), live.within([job.span for job in ran])
    ratio = percentile(beside, 99) / percentile(without, 99)
    _say(f"live, without the job   {described(without)}; by turn p99 " + _p99s(live, alone))
    _say(f"live, with the job      {described(beside)}; by turn p99 " + _p99s(live, [job.span for job in ran]))
    for stage in ("reading", "predicting", "converting"):
        during = [job.stages[stage] for job in ran if stage in job.stages]
        _say(f"  while it is {stage:<11} {described(live.within(during))}")
    _say(f"p99 with to without     {ratio:.2f}; {live.failed} of {len(live.seconds)} failed")
    took_s = sum(job.span[1] - job.span[0] for job in ran)
    _say(f"jobs beside live load   {sum(job.rows for job in ran) / took_s:,.0f} rows/s")
    _say("memory, most (MB)       " + ", ".join(f"{name} {peak:.0f}" for name, peak in sorted(memory.peaks.items())))
    return ratio <= MOST


def _p99s(live: Live, spans: Sequence[Span]) -> str:
    return ", ".join(f"{percentile(live.within([span]), 99):.1f}" for span in spans)


def main(arguments: list[str]) -> int:
    """Run as told; gives the exit status."""
    parser = argparse.ArgumentParser(prog="make bulk", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("var/bulk"), help="where its stack lives")
    parser.add_argument("--port", type=int, default=8560, help="its stack's port")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rate", type=float, default=100.0, help="live predictions a second")
    parser.add_argument("--quiet-s", type=float, default=15.0, help="how long the load is measured without a job")
    parser.add_argument("--jobs", type=int, default=2, help="how often the job runs under load")
    options = parser.parse_args(arguments)
    home = options.home.absolute()
    environment = {**os.environ, "WARREN_HOME": str(home), "WARREN_PORT": str(options.port)}
    layout = Layout.from_environment(environment)
    home.mkdir(parents=True, exist_ok=True)
    try:
        commands.up(layout, environment, lambda _line: None)
        api = Api(layout.url)
        dataset_id = prepared(api, home, options.rows)
        good = measured(layout, dataset_id, options.rate, options.quiet_s, options.jobs)
        job = run_job(api, dataset_id)
        _say(f"job, nothing else       {job.rows / (job.span[1] - job.span[0]):,.0f} rows/s")
    finally:
        commands.down(layout, lambda _line: None)
    alone = in_process(home / f"rows-{options.rows}.csv", table(_TRAINING_ROWS, 1), home / "answers.csv")
    _say(f"scikit-learn, one process {alone:,.0f} rows/s (pandas reads, the pipeline predicts, pandas writes)")
    return 0 if good else 1


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the command's output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
