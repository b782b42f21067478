"""The load test judges: a run whose answers are wrong or late must end with a failure.

Locust runs as a process of its own (it changes the sockets of whoever imports it) against a
server that answers as the gateway does, rightly or not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import pytest

from deploy.native.broker import Ports
from loadtests.tables import MODELS
from tests.source_tree import CHECKOUT


class Answers(BaseHTTPRequestHandler):
    """The calls that the load test makes."""

    protocol_version = "HTTP/1.1"
    wrong = False
    job_status = "succeeded"

    def do_GET(self) -> None:
        if self.path == "/models":
            return self._say(200, {"models": [{"model": model.name} for model in MODELS]})
        if self.path.startswith("/jobs"):
            return self._say(200, {"status": self.job_status})
        return self._say(200, {"versions": [{"version": 1}]})

    def do_PUT(self) -> None:
        self._say(200, {"version": self._body()["version"]})

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/train":
            return self._say(202, {"job_id": "j"})
        model = next(model for model in MODELS if model.name == body["model"])
        rows = len(body["instances"])
        if model.classes is None:
            return self._say(200, {"model": model.name, "predictions": [1.5] * rows})
        shares = [1.0, *[0.0] * (len(model.classes) - 1)]
        label = model.classes[-1 if self.wrong else 0]
        return self._say(200, {"model": model.name, "predictions": [label] * rows, "probabilities": [shares] * rows})

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _say(self, status: int, told: Any) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Serve(Protocol):
    """Starts a server that answers so; gives its address."""

    def __call__(self, *, wrong: bool = False, job_status: str = "succeeded") -> str: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[ThreadingHTTPServer] = []

    def start(*, wrong: bool = False, job_status: str = "succeeded") -> str:
        handler = type("Handler", (Answers,), {"wrong": wrong, "job_status": job_status})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def locust(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--scale", "0.2", *arguments]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, said


def test_a_run_of_right_answers_passes_and_leaves_a_report(serve: Serve, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    address = serve()
    status, said = ended(locust("--headless", "--host", address, "--max-p99-ms", "60000", "--html", str(report)))
    assert status == 0, said
    assert "POST /predict load-iris x1" in report.read_text()


def test_wrong_answers_fail_the_run_though_their_status_is_200(serve: Serve) -> None:
    status, said = ended(locust("--headless", "--host", serve(wrong=True), "--max-p99-ms", "60000"))
    assert status == 1, said
    assert "the label is not the most probable class" in said
    assert "requests failed" in said


def test_late_answers_fail_the_run(serve: Serve) -> None:
    status, said = ended(locust("--headless", "--host", serve(), "--max-p99-ms", "0.001"))
    assert status == 1, said
    assert "p99" in said


@pytest.mark.parametrize(
    ("job_status", "said"), [("cancelled", "the job is cancelled"), ("running", "the job is running after 0.1 s")]
)
def test_a_training_that_does_not_succeed_in_time_fails_the_run(serve: Serve, job_status: str, said: str) -> None:
    address = serve(job_status=job_status)
    status, output = ended(locust("--headless", "--host", address, "--max-p99-ms", "60000", "--max-job-s", "0.1"))
    assert status == 1, output
    assert said in output


def test_two_processes_share_the_load_and_the_first_one_judges(serve: Serve) -> None:
    port = str(Ports.free().amqp)
    # Longer than the others: the second process, and its clients, have to be there before the end.
    both = ("--host", serve(wrong=True), "--scale", "0.4")
    master = locust("--headless", "--master", "--expect-workers", "1", "--master-bind-port", port, *both)
    worker = locust("--worker", "--master-port", port, *both)
    status, said = ended(master)
    worker_status, worker_said = ended(worker)
    assert status == 1, said
    assert "requests failed" in said
    assert worker_status == 0, worker_said
