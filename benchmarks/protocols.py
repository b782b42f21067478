"""``python -m benchmarks.protocols``: the same rows by /predict, OIP as JSON, OIP in binary and gRPC, in turn.

Starts a stack of its own with one small model, so that what is measured is the way and not the model, and takes
two to three minutes. Load comes from the same machine: wrk for HTTP, h2load for gRPC, one connection for each call
that is under way; what they take of the processor is measured and printed beside what they got.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from api.protocols.open_inference_grpc import framing
from api.protocols.open_inference_grpc import open_inference_pb2 as messages
from api.protocols.open_inference_grpc.infer import ModelInfer
from benchmarks import stack

GRPC_PORT = stack.PORT + 1
MODEL = "protocols"
CONNECTIONS = 64
SIZES = (1, 100)
"""Rows of a request."""
SCRIPT = Path(__file__).parent / "protocols.lua"
PAGE = Path(__file__).parent / "results" / "protocols.md"
_ROW = (5.1, 3.5, 1.4, 0.2)


@dataclass(frozen=True)
class Way:
    """One way to ask: its name, the path for HTTP (none for gRPC), and its body for some rows.

    The body comes with the length of its JSON where binary data follows.
    """

    name: str
    path: str
    body: Callable[[int], tuple[bytes, int]]


@dataclass(frozen=True)
class Run:
    """What one run saw: good answers a second, failed ones, and processor seconds of its clients a second."""

    rate: float
    errors: int
    client_cores: float


def _native(rows: int) -> tuple[bytes, int]:
    return json.dumps({"model": MODEL, "instances": [_ROW] * rows}).encode(), 0


def _tensor(rows: int, **given: Any) -> bytes:
    return json.dumps({"inputs": [{"name": "x", "shape": [rows, 4], "datatype": "FP64", **given}]}).encode()


def _json(rows: int) -> tuple[bytes, int]:
    return _tensor(rows, data=[*_ROW] * rows), 0


def _raw(rows: int) -> bytes:
    return struct.pack("<4d", *_ROW) * rows


def _binary(rows: int) -> tuple[bytes, int]:
    data = _raw(rows)
    head = _tensor(rows, parameters={"binary_data_size": len(data)})
    return head + data, len(head)


def _grpc(rows: int) -> tuple[bytes, int]:
    message = messages.ModelInferRequest(model_name=MODEL, raw_input_contents=[_raw(rows)])
    message.inputs.add(name="x", datatype="FP64", shape=[rows, 4])
    return framing.body(message.SerializeToString()), 0


WAYS = (
    Way("/predict", "/predict", _native),
    Way("OIP, JSON", f"/v2/models/{MODEL}/infer", _json),
    Way("OIP, binary", f"/v2/models/{MODEL}/infer", _binary),
    Way("OIP, gRPC", "", _grpc),
)


def measure(way: Way, rows: int, file: Path, seconds: int) -> Run:
    """One run. Raises CalledProcessError."""
    body, json_bytes = way.body(rows)
    file.write_bytes(body)
    before = _children_s()
    began_at = time.monotonic()
    requests, errors, took_s = _wrk(way, file, json_bytes, seconds) if way.path else _h2load(file, seconds)
    cores = (_children_s() - before) / (time.monotonic() - began_at)
    return Run(requests / took_s, errors, cores)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wrk(way: Way, file: Path, json_bytes: int, seconds: int) -> tuple[float, int, float]:
    url = f"http://127.0.0.1:{stack.PORT}{way.path}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s", str(SCRIPT), url]
    command += ["--", str(file), str(json_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return said["requests"] - said["errors"], said["errors"], said["duration_us"] / 1e6


def _h2load(file: Path, seconds: int) -> tuple[float, int, float]:
    """HTTP says 200 to every call: one whose code is an error is known by its answer, which has no message."""
    command = ["h2load", "-t1", f"-d{file}", "-H", "content-type: application/grpc", "-H", "te: trailers"]
    command.append(f"http://127.0.0.1:{GRPC_PORT}{ModelInfer.route}")
    _, answer_bytes = counted(_said([*command, "-n1", "-c1"], seconds))
    calls, data_bytes = counted(_said([*command, f"-c{CONNECTIONS}", "-m1", f"-D{seconds}"], seconds))
    good = data_bytes // answer_bytes
    return float(good), calls - good, float(seconds)


def _said(command: Sequence[str], seconds: int) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True).stdout


def counted(said: str) -> tuple[int, int]:
    """Calls that ended and bytes of answers, in h2load's words. Raises ValueError where there is no answer."""
    calls = re.search(r"^requests: .* (\d+) done, ", said, re.MULTILINE)
    data = re.search(r"^traffic: .* \((\d+)\) data$", said, re.MULTILINE)
    if calls is None or data is None or not int(data[1]):
        raise ValueError("h2load has seen no answer")
    return int(calls[1]), int(data[1])


def train() -> None:
    """The model: a logistic regression of four numbers, which takes microseconds."""
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.PORT}", timeout=30, trust_env=False) as client:
        body = {"model": MODEL, "dataset": {"sample": "iris"}, "target": "target", "estimator": "LogisticRegression"}
        job = client.post("/train", json=body).raise_for_status().json()["job_id"]
        with client.stream("GET", f"/jobs/{job}/events") as events:
            for _ in events.iter_lines():
                """The stream ends when the job does."""
        status = client.get(f"/jobs/{job}").json()["status"]
        if status != "succeeded":
            raise RuntimeError(f"the training ended as {status}")


def table(found: dict[tuple[str, int], list[Run]]) -> str:
    """The page: medians over the rounds, and what each is of /predict in the same rounds."""
    lines = [
        "# The same rows by every protocol",
        "",
        f"`make protocols-bench` on {os.cpu_count()} cores: one stack (2 replicas, 2 predictors), a logistic",
        f"regression of four numbers, {CONNECTIONS} connections, in turn; medians of all rounds.",
        "The clients share the machine's cores: wrk for HTTP, h2load for gRPC. `clients` is how many cores they used.",
        "",
        "| rows | way | requests/s | of /predict | clients, cores | failed |",
        "|---|---|---|---|---|---|",
    ]
    for rows in SIZES:
        first = statistics.median(run.rate for run in found[WAYS[0].name, rows])
        for way in WAYS:
            runs = found[way.name, rows]
            rate, cores = (statistics.median(getattr(run, name) for run in runs) for name in ("rate", "client_cores"))
            failed = sum(run.errors for run in runs)
            lines.append(f"| {rows} | {way.name} | {rate:,.0f} | {rate / first:.2f} | {cores:.2f} | {failed} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Run as told; 1 where a request failed."""
    parser = argparse.ArgumentParser(prog="make protocols-bench", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("var/protocols-bench"), help="where its stack lives")
    parser.add_argument("--seconds", type=int, default=4, help="how long each run lasts")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way has its turn")
    options = parser.parse_args(arguments)
    home = options.home.absolute()
    found: dict[tuple[str, int], list[Run]] = {(way.name, rows): [] for way in WAYS for rows in SIZES}
    with stack.started(home, plain_broker=False, WARREN_GRPC_PORT=str(GRPC_PORT)):
        train()
        for way in WAYS:
            measure(way, 1, home / "body", 1)  # the first requests load the model
        for _ in range(options.rounds):
            for rows in SIZES:
                for way in WAYS:
                    found[way.name, rows].append(measure(way, rows, home / "body", options.seconds))
    text = table(found)
    sys.stdout.write(text)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text)
    return int(any(run.errors for runs in found.values() for run in runs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
