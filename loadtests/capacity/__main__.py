"""``python -m loadtests.capacity``: measure, reckon, and rewrite the tables of docs/capacity.md.

Starts a stack and a plain broker of its own, one after the other, and takes about a minute and a
half. The machine should have nothing else to do meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from loadtests.capacity import measuring, model, page, queue_limit
from loadtests.capacity.model import Level
from loadtests.capacity.page import Check, Findings

CALIBRATION = (1, 16, 256)
"""Connections at which costs are measured for the model."""
CHECKED = 64
"""Connections at which the model is held against a run."""
RATES = (1_000, 10_000, 100_000)
"""Predictions a second that are planned for."""
_HTTP_HEAD_BYTES = 160


def findings(home: Path, port: int, seconds: int) -> Findings:
    """Measure everything, each load for ``seconds``, and reckon."""
    file = home.parent / f"{home.name}-bodies.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    request_bytes = measuring.bodies(file) + _HTTP_HEAD_BYTES
    with measuring.started(home, port) as stack:
        levels = [measuring.measure(stack, connections, file, seconds) for connections in CALIBRATION]
        before, sent = stack.broker_bytes(), stack.batches()
        both = measuring.measure(stack, CHECKED, file, seconds)
        after, sent_after = stack.broker_bytes(), stack.batches()
        answer_bytes = measuring.answer_bytes(stack, file.read_bytes().splitlines()[0])
        stack.halve()
        half = measuring.measure(stack, CHECKED, file, seconds)
    queue = queue_limit.measure(home.parent / f"{home.name}-broker")
    requests = max(sent_after[0] - sent[0], 1.0)
    to_broker, from_broker = ((now - then) / requests for now, then in zip(after, before, strict=True))
    return _reckoned(levels, both, half, queue, (request_bytes, answer_bytes, to_broker, from_broker))


def _reckoned(
    levels: Sequence[Level], both: Level, half: Level, queue: model.Queue, sizes: tuple[float, float, float, float]
) -> Findings:
    request_bytes, answer_bytes, to_broker, from_broker = sizes
    costs, cores, trip_ms = model.fit(levels), os.cpu_count() or 1, levels[0].p50_ms
    share = model.batch_share(levels[1:])
    checks = [
        Check(level, model.throughput(costs, free, CHECKED, level.replicas, level.predictors, share))
        for level in (half, both)
        if (free := max(0.1, cores - level.foreign_cores))
    ]
    client, broker = max(request_bytes, answer_bytes), max(to_broker, from_broker)
    every = sorted([*levels, both], key=lambda level: level.connections)
    fitted = model.fit(every)
    plans = [model.plan(rate, fitted, trip_ms / 1000, queue, client, broker) for rate in RATES]
    return Findings(
        cores, every, fitted, queue, checks, plans, trip_ms, int(request_bytes), int(answer_bytes), to_broker
    )


def main(arguments: list[str]) -> int:
    """Run as told; gives the exit status."""
    parser = argparse.ArgumentParser(prog="make capacity", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("var/capacity"), help="where its stack lives")
    parser.add_argument("--port", type=int, default=8546, help="its stack's port")
    parser.add_argument("--seconds", type=int, default=4, help="how long each load is measured")
    parser.add_argument("--dry", action="store_true", help="print the tables and leave the page as it is")
    options = parser.parse_args(arguments)
    found = findings(options.home.absolute(), options.port, options.seconds)
    text = page.render(found)
    print(text)  # noqa: T201 - the command's output
    record = options.home.absolute().parent / f"{options.home.name}.json"
    record.write_text(json.dumps(asdict(found), indent=1))
    if not options.dry:
        page.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
