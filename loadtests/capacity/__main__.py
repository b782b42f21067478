"""``python -m loadtests.capacity``: measure, reckon, and rewrite the tables of docs/capacity.md.

Starts a stack and a plain broker of its own, one after the other, and takes about two
minutes. The machine should have nothing else to do meanwhile.
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

CALIBRATION = (1, 16, 64, 256)
"""Connections at which costs are measured for the model."""
CHECKED = (64, 256)
"""Connections at which the model is held against runs with other numbers of processes."""
COUNTS = (1, 2, 4)
"""How many replicas, and as many predictors, those runs have."""
RATES = (1_000, 10_000, 100_000)
"""Predictions a second that are planned for."""
_HTTP_HEAD_BYTES = 160


def findings(home: Path, port: int, seconds: int) -> Findings:
    """Measure everything, each load for ``seconds``, and reckon."""
    file = home.parent / f"{home.name}-bodies.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    request_bytes = measuring.bodies(file) + _HTTP_HEAD_BYTES
    with measuring.started(home, port) as stack:
        before, sent = stack.broker_bytes(), stack.batches()
        levels = [measuring.measure(stack, connections, file, seconds) for connections in CALIBRATION]
        after, sent_after = stack.broker_bytes(), stack.batches()
        answer_bytes = measuring.answer_bytes(stack, file.read_bytes().splitlines()[0])
        checked = []
        for count in COUNTS:
            stack.resize(count)
            checked += [measuring.measure(stack, connections, file, seconds) for connections in CHECKED]
    queue = queue_limit.measure(home.parent / f"{home.name}-broker")
    requests = max(sent_after[0] - sent[0], 1.0)
    to_broker, from_broker = ((now - then) / requests for now, then in zip(after, before, strict=True))
    return _reckoned(levels, checked, queue, (request_bytes, answer_bytes, to_broker, from_broker))


def _reckoned(
    levels: Sequence[Level], checked: Sequence[Level], queue: model.Queue, sizes: tuple[float, float, float, float]
) -> Findings:
    request_bytes, answer_bytes, to_broker, from_broker = sizes
    costs, cores, trip_ms = model.fit(levels), os.cpu_count() or 1, levels[0].p50_ms
    share = model.batch_share(levels[1:])
    checks = [
        Check(level, model.throughput(costs, free, level.connections, level.asked, level.predictors, share))
        for level in checked
        if (free := max(0.1, cores - level.foreign_cores))
    ]
    client, broker = max(request_bytes, answer_bytes), max(to_broker, from_broker)
    fitted = model.fit(levels)
    plans = [model.plan(rate, fitted, trip_ms / 1000, queue, client, broker) for rate in RATES]
    return Findings(
        cores, levels, fitted, queue, checks, plans, trip_ms, int(request_bytes), int(answer_bytes), to_broker
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
