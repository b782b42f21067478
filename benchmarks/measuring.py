"""Load on one server: closed loop with wrk, large bodies and fixed rates with our own client."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import client
from benchmarks.client import Address, Answer

SCRIPT = Path(__file__).parent / "wrk.lua"


@dataclass(frozen=True)
class Load:
    """What one measurement saw: good answers a second, latencies in milliseconds, requests without one."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    errors: int
    requests: int


def closed_loop(url: str, bodies: Sequence[bytes], file: Path, connections: int, duration_s: int) -> Load:
    """As many requests as ``connections`` clients can make, each waiting for its answer.

    The bodies go through ``file``, one a line, and are sent in turn. wrk takes whole seconds only,
    and doesn't count what is under way at the end: fine for the thousands of requests it is used for.
    """
    file.write_bytes(b"\n".join(bodies) + b"\n")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{duration_s}s", "--timeout", "30s", "-s", str(SCRIPT), url]
    done = subprocess.run(
        [*command, "--", str(file)], capture_output=True, text=True, timeout=duration_s + 60, check=True
    )
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return Load(
        (said["requests"] - said["errors"]) / (said["duration_us"] / 1e6),
        said["p50_us"] / 1e3,
        said["p99_us"] / 1e3,
        said["p999_us"] / 1e3,
        said["errors"],
        said["requests"],
    )


def large(address: Address, bodies: Sequence[bytes], connections: int, duration_s: float) -> tuple[Load, list[Answer]]:
    """A closed loop of few, large requests, with the answers.

    Each connection's rate is counted up to its own last answer, so that a request under way when
    the time is up is not lost: with a handful of requests a second that would be a tenth of them.
    """
    lines = client.run(client.in_turn(address, bodies, connections, duration_s, repeat=True))
    answers = [answer for line in lines for answer in line]
    rate = sum(_good(line) / sum(answer.seconds for answer in line) for line in lines if line)
    return _load(answers, rate), answers


def open_loop(address: Address, bodies: Sequence[bytes], rate: float, duration_s: float) -> tuple[Load, list[Answer]]:
    """Requests at a fixed rate; latency counts from the intended moment."""
    answers = client.run(client.at_rate(address, bodies, rate, duration_s))
    return _load(answers, _good(answers) / duration_s), answers


def _good(answers: Sequence[Answer]) -> int:
    return sum(answer.status == 200 for answer in answers)


def _load(answers: Sequence[Answer], rate: float) -> Load:
    times = sorted(answer.seconds for answer in answers)
    at = [times[min(len(times) - 1, int(len(times) * share))] * 1e3 for share in (0.5, 0.99, 0.999)]
    return Load(rate, at[0], at[1], at[2], len(answers) - _good(answers), len(answers))
