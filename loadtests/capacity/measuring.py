"""A stack of its own under load: requests a second, and CPU per request of each process.

From the supervisor's processes and the replicas' metrics to ``model.Level``. The load comes from
wrk on the same machine; its own cost is measured like the others', under the name ``client``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

from deploy.native import commands, nginx, ports
from deploy.native.layout import Layout
from deploy.native.supervision import Supervisor
from loadtests.capacity.model import Level
from loadtests.mixed import models

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "wrk.lua"
"""What wrk runs."""
WARM_S = 1
"""Seconds of load before a measurement; wrk takes whole ones."""
TABLE = models.TABLES[0]
"""The model that is asked: logistic regression on four numbers, one row."""

_KINDS = {"nginx": "nginx", "broker": "broker", "api": "replicas", "predictor": "predictors"}


@dataclass
class Stack:
    """A running stack, started with ``environment``."""

    layout: Layout
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.layout.port}"

    @property
    def block(self) -> ports.PortBlock:
        """The internal ports."""
        block = ports.remembered(self.layout)
        if block is None:
            raise RuntimeError("this stack never ran")
        return block

    def cpu_s(self) -> dict[str, float]:
        """Seconds of CPU used so far, by kind of process."""
        used = dict.fromkeys([*_KINDS.values(), "others"], 0.0)
        for one in Supervisor(self.layout).processes():
            if one.pid:
                used[kind(one.name)] += _tree_cpu_s(one.pid)
        return used

    def batches(self) -> tuple[float, float]:
        """Requests and messages sent so far by all replicas."""
        totals = [0.0, 0.0]
        for number in range(1, self.layout.replicas + 1):
            address = f"http://127.0.0.1:{self.block.metrics(f'api-{number}')}/metrics"
            with urllib.request.urlopen(address, timeout=10) as answer:
                text = answer.read().decode()
            for place, name in enumerate(("sum", "count")):
                found = re.search(rf"^warren_predict_batch_requests_{name} (\S+)", text, re.MULTILINE)
                totals[place] += float(found[1]) if found else 0.0
        return totals[0], totals[1]

    def broker_bytes(self) -> tuple[int, int]:
        """Bytes that the broker received and sent so far, over all its connections."""
        said = commands.ask_broker(self.layout, ["list_connections", "--no-table-headers", "recv_oct", "send_oct"])
        rows = [line.split() for line in said.splitlines() if re.fullmatch(r"\d+\s+\d+", line.strip())]
        return sum(int(row[0]) for row in rows), sum(int(row[1]) for row in rows)

    def resize(self, count: int) -> None:
        """Start it, or go on, with so many replicas and as many predictors. Raises DeploymentError."""
        counts = {"WARREN_REPLICAS": str(count), "WARREN_PREDICTORS": str(count)}
        environment = {**self.environment, **counts}
        self.layout = Layout.from_environment(environment)
        commands.up(self.layout, environment, lambda _line: None)


def kind(name: str) -> str:
    """Which kind of process a program is, by its name: ``api-2`` is one of the ``replicas``."""
    return _KINDS.get(name.partition("-")[0], "others")


@contextlib.contextmanager
def started(home: Path, port: int) -> Iterator[Stack]:
    """A stack in a home of its own with the model to ask. Raises DeploymentError."""
    environment = {**os.environ, "WARREN_HOME": str(home), "WARREN_PORT": str(port)}
    stack = Stack(Layout.from_environment(environment), environment)
    try:
        stack.resize(2)
        models.ensure(f"http://127.0.0.1:{port}", TABLE)
        yield stack
    finally:
        commands.down(stack.layout, lambda _line: None)


def bodies(file: Path, count: int = 1000) -> int:
    """Write request bodies, one row each; gives the mean size in bytes."""
    lines = [orjson.dumps({"model": TABLE.name, "instances": [row]}) for row in TABLE.rows(count, 500)]
    file.write_bytes(b"\n".join(lines) + b"\n")
    return sum(map(len, lines)) // count


def measure(stack: Stack, connections: int, file: Path, seconds: int) -> Level:
    """What so many connections got in so many seconds, and what it cost. Raises RuntimeError when a request failed."""
    _load(stack.url, connections, WARM_S, file)
    before, sent, client, busy = stack.cpu_s(), stack.batches(), _children_cpu_s(), _busy_s()
    said = _load(stack.url, connections, seconds, file)
    after, sent_after, client, busy = stack.cpu_s(), stack.batches(), _children_cpu_s() - client, _busy_s() - busy
    if said["errors"]:
        raise RuntimeError(f"{said['errors']} of {said['requests']} requests failed at {connections} connections")
    requests = said["requests"]
    used: Mapping[str, float] = {name: after[name] - before[name] for name in before} | {"client": client}
    messages = max(sent_after[1] - sent[1], 1.0)
    return Level(
        connections,
        stack.layout.replicas,
        1 if connections < nginx.FEW else stack.layout.replicas,
        stack.layout.predictors,
        requests / (said["duration_us"] / 1e6),
        said["p50_us"] / 1e3,
        max(1.0, (sent_after[0] - sent[0]) / messages),
        {name: cpu_s * 1e6 / requests for name, cpu_s in used.items()},
        max(0.0, busy - sum(used.values())) * 1e6 / said["duration_us"],
    )


def answer_bytes(stack: Stack, body: bytes) -> int:
    """Bytes of one answer with its headers, as Nginx sends it."""
    request = urllib.request.Request(f"{stack.url}/predict", data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return len(str(answer.headers)) + len(answer.read()) + len("HTTP/1.1 200 OK\r\n")


def _load(url: str, connections: int, duration_s: int, file: Path) -> dict[str, Any]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{duration_s}s", "--timeout", "10s", "-s", str(SCRIPT)]
    done = subprocess.run(
        [*command, f"{url}/predict", "--", str(file)],
        capture_output=True,
        text=True,
        timeout=duration_s + 30,
        check=True,
    )
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def _tree_cpu_s(pid: int) -> float:
    used = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for one in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                # With those who have ended: the trainer ends its idle fork server, whose time must not vanish.
                used += times.user + times.system + times.children_user + times.children_system
    return used


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _busy_s() -> float:
    """Seconds of CPU that everybody on the machine used so far, and what its host took away."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
