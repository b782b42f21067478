"""A whole stack, started as ``make up`` does, and a client that speaks to it over HTTP only."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from deploy.native import commands, ports, readiness, strays
from deploy.native.layout import Layout
from deploy.native.ports import PortBlock
from deploy.native.supervision import ProcessState, Supervisor
from tests.rabbit import wait_until

# Test processes run beside each other; each looks for ports of its own.
FIRST_PORT = 8400 + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
FREE = "any"
"""Stands for a port that nobody uses."""
QUICK = {"WARREN_TRAIN__PROVE_S": "0.2", "WARREN_TRAIN__MEASURE_S": "0.05"}
"""Dozens of small models are trained; how much a proof finds in its second is shown elsewhere."""
ENDED = ("succeeded", "failed", "cancelled")
Json = dict[str, Any]
TLS = ssl.create_default_context()
"""For clients that would each make one, 20 ms of work, for addresses that need none."""


@dataclass
class Event:
    """One Server-Sent Event."""

    id: int
    name: str
    data: Json


@dataclass
class Stack:
    """A running stack; ``said`` is what its commands told the person who waits."""

    layout: Layout
    environment: dict[str, str]
    said: list[str] = field(default_factory=list)
    key: str = ""
    running_at: str = ""

    @classmethod
    def fresh(cls, **environment: str) -> Stack:
        """A stack in a home of its own, on a port nobody uses, not started yet."""
        home = environment.get("WARREN_HOME") or tempfile.mkdtemp(prefix="warren-test-")
        Path(home).mkdir(exist_ok=True)
        # Others than root read the folder too: the broker's own user, as in a checkout.
        Path(home).chmod(0o755)
        port = next(port for port in range(FIRST_PORT, FIRST_PORT + 100) if not ports.taken(port))
        given = {"WARREN_HOME": home, "WARREN_PORT": str(port), **environment}
        if given.get("WARREN_GRPC_PORT") == FREE:
            above = range(port + 1, FIRST_PORT + 100)
            given["WARREN_GRPC_PORT"] = str(next(port for port in above if not ports.taken(port)))
        return cls(Layout.from_environment(given), {**QUICK, "PATH": os.environ["PATH"], **given})

    @classmethod
    def elsewhere(cls, url: str, key: str) -> Stack:
        """A stack that runs already, however; only its address and ``key`` are known."""
        return cls(Layout.from_environment({}), {}, key=key, running_at=url.rstrip("/"))

    def up(self) -> str:
        return commands.up(self.layout, self.environment, self.said.append)

    def down(self) -> str:
        return commands.down(self.layout, self.said.append)

    def keys(self, *arguments: str) -> str:
        """What ``make key`` says to these arguments."""
        command, environment = commands.key(self.layout, self.environment, arguments)
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout

    def remove(self) -> None:
        """Stop it and forget its home; the logs stay where a failed run can be read."""
        self.down()
        keep = os.environ.get("WARREN_TEST_KEEP")
        if keep:
            shutil.copytree(self.layout.logs, Path(keep) / self.layout.home.name, dirs_exist_ok=True)
        shutil.rmtree(self.layout.home, ignore_errors=True)

    @property
    def url(self) -> str:
        return self.running_at or self.layout.url

    @property
    def grpc(self) -> str:
        """Where gRPC is spoken."""
        return f"127.0.0.1:{self.layout.grpc_port}"

    @property
    def block(self) -> PortBlock:
        block = ports.remembered(self.layout)
        assert block is not None
        return block

    @property
    def replicas(self) -> list[str]:
        """The address of each replica, past Nginx; elsewhere only Nginx can be reached."""
        if self.running_at:
            return [self.running_at] * 2
        return [f"http://127.0.0.1:{self.block.replica(number)}" for number in (1, 2)]

    def processes(self) -> dict[str, ProcessState]:
        return {one.name: one for one in Supervisor(self.layout).processes()}

    def ready(self, url: str = "") -> bool:
        """Whether the stack, or one replica by its address, says that it is ready."""
        return readiness.answers(f"{url or self.url}/readyz")

    def left(self) -> list[int]:
        """What runs although it should not: processes of this stack."""
        return strays.find(self.layout.home)

    def ports_in_use(self) -> list[int]:
        return [port for port in (self.layout.port, *self.block.all()) if ports.taken(port)]


class Client:
    """The calls of the HTTP API as a person would make them; a refused one fails the test with its problem."""

    def __init__(self, url: str, key: str = "") -> None:
        # A machine that stands still for the two seconds of the default deadline fails no test by it.
        patient = {"X-Request-Timeout-Ms": "20000"}
        headers = patient | ({"Authorization": f"Bearer {key}"} if key else {})
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False, verify=TLS)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self.http.close()

    def call(self, method: str, path: str, expect: int, **given: Any) -> Any:
        answer = self.http.request(method, path, **given)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text[:1000]}"
        return answer.json() if answer.content else None

    def upload(self, content: bytes, kind: str = "text/csv") -> Json:
        answer: Json = self.call("POST", "/datasets", 201, content=content, headers={"Content-Type": kind})
        return answer

    def train(self, **body: Any) -> str:
        return str(self.call("POST", "/train", 202, json=body)["job_id"])

    def job(self, job_id: str) -> Json:
        found: Json = self.call("GET", f"/jobs/{job_id}", 200)
        return found

    def finished(self, job_id: str, timeout_s: float = 200) -> Json:
        """The job once it has ended."""
        wait_until(lambda: self.job(job_id)["status"] in ENDED, f"job {job_id} ends", timeout_s)
        return self.job(job_id)

    def trained(self, **body: Any) -> Json:
        """The result of a training that must succeed."""
        job = self.finished(self.train(**body))
        assert job["status"] == "succeeded", job
        result: Json = job["result"]
        return result

    def predict(self, **body: Any) -> Json:
        answer: Json = self.call("POST", "/predict", 200, json=body)
        return answer

    def events(self, job_id: str, last_event_id: int = 0, timeout_s: float = 200) -> Iterator[Event]:
        """The job's event stream, up to its end."""
        headers = {"Last-Event-ID": str(last_event_id)} if last_event_id else {}
        end = time.monotonic() + timeout_s
        with self.http.stream("GET", f"/jobs/{job_id}/events", headers=headers, timeout=30) as stream:
            assert stream.status_code == 200
            assert stream.headers["content-type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            for line in stream.iter_lines():
                assert time.monotonic() < end, "the stream does not end"
                name, _, value = line.partition(": ")
                if name:
                    fields[name] = value
                elif not line and "data" in fields:
                    yield Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
                    fields = {}


def coverage() -> dict[str, str]:
    """What makes a stack's processes measure their own coverage, when the tests run so.

    One stack of several is enough: it costs a third of the processor time.
    """
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") != "gw0":
        return {}
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
