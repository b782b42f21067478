"""A replica as the supervisor runs it: ``python -m api.serve``, over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from api.serve import options
from tests.integration.predict.conftest import ROOT
from tests.integration.predict.scripted import ScriptedPredictor
from tests.rabbit import wait_until
from wire import messages, settings, topology
from wire.server import RpcServer

HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-Timeout-Ms: 30000\r\n"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Served:
    """A replica process with its HTTP port and its metrics port."""

    def __init__(self, broker: settings.Broker, home: Path) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.log = home / "replica.log"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WARREN_")},
            "WARREN_BROKER__HOST": broker.host,
            "WARREN_BROKER__PORT": str(broker.port),
            "WARREN_BROKER__VHOST": broker.vhost,
            "WARREN_LEDGER__URL": f"sqlite:///{home}/ledger.sqlite3",
            "WARREN_API__PORT": str(self.port),
            "WARREN_PROCESS__METRICS_PORT": str(self.metrics_port),
            "WARREN_PROCESS__DRAIN_S": "5",
        }
        with self.log.open("w") as log:
            command = [sys.executable, "-m", "api.serve"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20, trust_env=False)

    def answers(self, path: str, status: int = 200) -> bool:
        try:
            return self.client.get(path).status_code == status
        except httpx.HTTPError:
            return False

    def predict(self, number: object) -> httpx.Response:
        body = {"model": "m", "instances": [[number]]}
        return self.client.post("/predict", json=body, headers={"X-Request-Timeout-Ms": "10000"})

    def missing(self) -> set[str]:
        return set(self.client.get("/readyz").json().get("reasons", {}))

    def wait_for_predictors(self) -> None:
        wait_until(lambda: self.missing() == {"workers", "trainers"}, "a predictor is there")

    def stop(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)


@pytest.fixture
def served(broker: settings.Broker, tmp_path: Path) -> Iterator[Served]:
    one = Served(broker, tmp_path)
    try:
        wait_until(lambda: one.answers("/livez"), "the replica answers", 30)
        yield one
    finally:
        one.stop()


@pytest.fixture
def others(broker: settings.Broker) -> Iterator[Callable[[], None]]:
    """Whoever else /readyz asks for: a worker's and a trainer's consumers."""
    servers = [RpcServer(broker, "worker", "jobs"), RpcServer(broker, "trainer", "changes")]
    for server, queue in zip(servers, (topology.JOBS, topology.CHANGES), strict=True):
        server.serve(queue, lambda _request: messages.Deleted(), prefetch=1)

    def start() -> None:
        for server in servers:
            server.start()
            assert server.wait_ready(15)

    yield start
    for server in servers:
        server.stop(5)


def test_readiness_names_what_is_missing_until_nothing_is(
    served: Served, broker: settings.Broker, others: Callable[[], None]
) -> None:
    assert served.client.get("/readyz").status_code == 503
    wait_until(lambda: served.missing() == {"predictors", "workers", "trainers"}, "all but the broker is missing")
    predictor = ScriptedPredictor(broker).start()
    others()
    wait_until(lambda: served.answers("/readyz"), "the replica is ready")
    probe = httpx.Client(base_url=f"http://127.0.0.1:{served.metrics_port}", trust_env=False)
    wait_until(lambda: probe.get("/readyz").status_code == 200, "the probe says so too")
    assert probe.get("/livez").status_code == 200
    assert served.predict(1).status_code == 200
    metrics = probe.get("/metrics").text
    assert 'warren_http_requests_total{method="POST",route="/predict",status="200"} 1.0' in metrics
    assert "warren_predict_batch_requests_bucket" in metrics
    assert 'route="/readyz"' in metrics
    probe.close()
    predictor.stop()


def test_a_replica_ends_with_its_worker_so_that_nobody_waits_for_the_next_one(served: Served) -> None:
    (worker,) = psutil.Process(served.process.pid).children()
    worker.send_signal(signal.SIGKILL)
    assert served.process.wait(20) == 1
    with pytest.raises(httpx.ConnectError):
        served.client.get("/livez")


def test_a_stopping_replica_finishes_what_it_has(served: Served, broker: settings.Broker) -> None:
    predictor = ScriptedPredictor(broker)
    predictor.gate.clear()
    predictor.start()
    served.wait_for_predictors()
    answers: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: answers.append(served.predict(41)))
    caller.start()
    assert predictor.seen.wait(15)
    served.process.terminate()
    wait_until(lambda: "Shutting down" in served.log.read_text(), "it is stopping")
    predictor.gate.set()
    caller.join(15)
    assert served.process.wait(20) == 0
    predictor.stop()
    assert answers[0].json()["predictions"] == [41]
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert {"process.started", "process.stopping", "process.stopped"} <= {line["action"] for line in lines}
    assert all("Traceback" not in line.get("message", "") for line in lines)


def test_a_connection_is_kept_longer_than_nginx_keeps_it(served: Served) -> None:
    """Several requests on one connection; how long it may idle is told by the server's settings."""
    assert options(settings.Settings())["keepalive"] == 75
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    sockets = set()
    for _ in range(3):
        connection.request("GET", "/livez")
        sockets.add(connection.sock)
        assert connection.getresponse().read() == b'{"status":"alive"}'
    connection.close()
    assert len(sockets) == 1


def test_a_client_that_hangs_up_is_noticed(served: Served, broker: settings.Broker) -> None:
    predictor = ScriptedPredictor(broker)
    predictor.gate.clear()
    predictor.start()
    probe = httpx.Client(base_url=f"http://127.0.0.1:{served.metrics_port}", trust_env=False)
    served.wait_for_predictors()
    body = b'{"model":"m","instances":[[1]]}'
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert predictor.seen.wait(15)
    wait_until(lambda: "warren_predict_abandoned_total 1.0" in probe.get("/metrics").text, "the client is missed")
    predictor.stop()
    probe.close()


def test_pipelined_requests_whose_client_hangs_up_disturb_nobody(served: Served, broker: settings.Broker) -> None:
    """Their answers are written in the callback of the broker's connection, which must not suffer."""
    predictor = ScriptedPredictor(broker)
    predictor.gate.clear()
    predictor.start()
    served.wait_for_predictors()
    body = b'{"model":"m","instances":[[1]]}'
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(request * 2)
        assert predictor.seen.wait(15)
    predictor.gate.set()
    assert served.predict(5).json()["predictions"] == [5]
    predictor.stop()
    lines = [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]
    assert not [line for line in lines if line["action"] == "broker.lost" or line["level"] == "ERROR"]
