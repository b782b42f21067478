"""The run itself: model by model, start the peers, measure the blocks, stop the peers.

In come a running stack and blocks; measurements go to their file after every block.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks import plan, standing
from benchmarks.measurements import File, Measurement
from benchmarks.plan import WARREN, Block
from benchmarks.progress import Progress
from benchmarks.servers import NAMES, TUTORIAL
from benchmarks.stack import Stack
from benchmarks.subject import Questions, Subject
from benchmarks.warren_side import Truth
from benchmarks.workloads import Workload


class Campaign:
    """One run over some blocks."""

    def __init__(self, stack: Stack, work: Path, find: standing.Environment, file: File, progress: Progress) -> None:
        self._stack = stack
        self._work = work
        self._find = find
        self._file = file
        self._progress = progress

    def run(self, blocks: Sequence[Block]) -> None:
        """Measure all blocks; they come grouped by model."""
        for workload, group in itertools.groupby(blocks, key=lambda block: block.workload):
            self._model(workload, list(group))

    def _model(self, workload: Workload, blocks: list[Block]) -> None:
        servers = plan.loaded(blocks, workload)
        questions = Questions(workload, Truth(self._work / "models" / workload.name))
        row = standing.Row()
        self._progress.say(f"{workload.name}: starting {len(servers)} servers")
        try:
            row.start(servers, workload, self._find, self._work, self._stack.tutorial_broker_url)
            for cell in {block.cell.key: block.cell for block in blocks}.values():
                questions.right(cell)
            self._progress.done(plan.START_S)
            for block in blocks:
                self._block(block, row, questions)
        finally:
            row.stop()

    def _block(self, block: Block, row: standing.Row, questions: Questions) -> None:
        turns: list[Measurement] = []
        for name in block.servers:
            self._progress.say(f"{block.key}: {name}")
            turns += self._turn(block, name, row, questions)
            self._progress.done(block.seconds / len(block.servers))
        self._file.add({"block": block.key, "turns": turns})

    def _turn(self, block: Block, name: str, row: standing.Row, questions: Questions) -> list[Measurement]:
        rate = 0.0
        if block.cell is plan.OPEN:
            rate = self._half_peak(block, name)
            if not rate:
                return []
            if NAMES[name].remembers:
                row.renew(name, block.workload, self._find, self._work, self._stack.tutorial_broker_url)
        asked = [name, WARREN] if block.cell is plan.OPEN else [name]
        return [{"server": one, "beside": name} | self._measure(block, one, row, questions, rate) for one in asked]

    def _measure(self, block: Block, name: str, row: standing.Row, questions: Questions, rate: float) -> Measurement:
        if name in row.failed:
            return {"failed": row.failed[name]}
        subject = self._subject(name, row)
        with subject.awake():
            try:
                return subject.measure(questions, block.cell, self._work / "bodies.txt", rate)
            except (OSError, TimeoutError, subprocess.SubprocessError) as error:
                return {"failed": f"{type(error).__name__}: {error}"}

    def _subject(self, name: str, row: standing.Row) -> Subject:
        if name == WARREN:
            return Subject(name, f"{self._stack.url}/predict", self._stack.pids, None, None)
        one = row.servers[name]
        brokers = self._stack.tutorial_broker_pids if one.server is TUTORIAL else []
        return Subject(name, one.url, [*one.running.pids, *brokers], one.server, one)

    def _half_peak(self, block: Block, name: str) -> float:
        """Half of what a peer reached in this round; 0 for the slower setting of a pair, which is left out."""
        peak_key = f"{block.workload.name}/{block.round}/{plan.PEAK.key}"
        peaks = {turn["server"]: turn["requests_per_s"] for turn in self._file.blocks().get(peak_key, [])}
        framework = NAMES[name].environment
        rivals = [peak for one, peak in peaks.items() if one in NAMES and NAMES[one].environment == framework]
        return peaks[name] / 2 if name in peaks and peaks[name] == max(rivals) else 0.0
