"""Everything an offline prediction passes, as processes of their own on a real broker, with short times."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.ledger import Ledger
from deploy.native.broker import Ports
from model_store import signing
from tests.integration.jobs.replica import Replica
from tests.integration.jobs.worker_process import ROOT, WorkerProcess, variables
from tests.rabbit import wait_until
from tests.unit.predictor.artefacts import Shelf, classifier, regression
from wire import settings

ENDED = ("succeeded", "failed", "cancelled")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("offline")


@pytest.fixture(scope="module")
def shelf(home: Path) -> Shelf:
    """The model ``sum`` answers a + b; ``larger`` says whether a > b."""
    shelf = Shelf.make(home)
    shelf.publish(regression(1), "sum")
    shelf.publish(classifier(), "larger", classes=["no", 'yes, "a"'])
    return shelf


@pytest.fixture(scope="module")
def config(module_broker: settings.Broker, home: Path, shelf: Shelf) -> settings.Settings:
    private, _ = signing.generate_keys(home / "other-keys")
    return settings.Settings(
        broker=module_broker,
        process=settings.Process(drain_s=5),
        ledger=settings.Ledger(url=f"sqlite:///{home}/ledger/ledger.sqlite3", timeout_s=10),
        # Small blocks make a job last long enough to be disturbed.
        bulk=settings.Bulk(block_rows=10),
        # What is still there must not count as lost when it, the broker or pytest stands still for some seconds.
        train=settings.Train(
            silence_s=6, lease_renew_s=0.5, lease_stale_s=8, worker_threads=4, alive_s=0.5, prove_s=0.2
        ),
        paths=settings.Paths(
            models=shelf.volume.root,
            datasets=home / "datasets",
            predictions=home / "predictions",
            signing_key_file=private,
            verify_key_file=shelf.verify_key_file,
        ),
    )


class Service:
    """``python -m <module> …`` with a port for its probes."""

    def __init__(self, config: settings.Settings, *module: str) -> None:
        port = Ports.free().amqp
        own = config.model_copy(update={"process": config.process.model_copy(update={"metrics_port": port})})
        environment = {**os.environ, **variables(own.model_dump(mode="json"), "WARREN")}
        self._url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([sys.executable, "-m", *module], cwd=ROOT, env=environment)

    def wait_ready(self) -> Service:
        def ready() -> bool:
            assert self.process.poll() is None, "the process ended"
            try:
                return httpx.get(f"{self._url}/readyz", trust_env=False).status_code == 200
            except httpx.HTTPError:
                return False

        wait_until(ready, f"{self._url} is ready", 60)
        return self

    def count(self, counter: str) -> float:
        """What a counter of this process shows."""
        lines = httpx.get(f"{self._url}/metrics", trust_env=False).text.splitlines()
        return sum(float(line.split()[1]) for line in lines if line.split()[0] == f"{counter}_total")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            finally:
                self.process.kill()


class Fleet:
    """The processes of one test module; those a test has killed are there again for the next."""

    def __init__(self, config: settings.Settings, home: Path) -> None:
        self._config = config
        self._home = home
        self._points = home / "points"
        self._points.mkdir()
        self.worker = WorkerProcess(config, home / "logs")
        self.trainer = Service(config, "trainer")
        self.predictors: list[Service] = []
        for _ in range(2):
            self.new_predictor()

    def wait_ready(self) -> None:
        for one in (self.trainer, *self.predictors, self.worker):
            one.wait_ready()

    def new_predictor(self) -> Service:
        """One more, which has failpoints."""
        woven = ("tests.faults.woven", str(self._points), "predictor", "predictor")
        self.predictors.append(Service(self._config, *woven))
        return self.predictors[-1]

    def predictor_killed_at(self, point: str) -> Service:
        """The predictor that came to a failpoint first, and ended there as ``kill -9`` ends it."""
        armed, part, fired = (self._points / f"{point}{suffix}" for suffix in ("", ".part", ".fired"))
        fired.unlink(missing_ok=True)
        part.write_text("kill")
        part.rename(armed)
        try:
            wait_until(fired.exists, f"a predictor comes to {point}", 30)
        finally:
            armed.unlink(missing_ok=True)
        pid = int(fired.read_text())
        killed = next(one for one in self.predictors if one.process.pid == pid)
        assert killed.process.wait(10) == -signal.SIGKILL
        return killed

    def whole(self) -> None:
        """Start what is missing."""
        if self.trainer.process.poll() is not None:
            self.trainer = Service(self._config, "trainer").wait_ready()
        self.predictors = [one for one in self.predictors if one.process.poll() is None]
        while len(self.predictors) < 2:
            self.new_predictor().wait_ready()
        if self.worker.process.poll() is not None:
            self.worker = WorkerProcess(self._config, self._home / "logs").wait_ready()

    def close(self) -> None:
        for one in (self.worker, self.trainer, *self.predictors):
            one.close()


@pytest.fixture(scope="module")
def _fleet(config: settings.Settings, home: Path) -> Iterator[Fleet]:
    config.paths.predictions.mkdir()
    config.paths.datasets.mkdir()
    fleet = Fleet(config, home)
    try:
        fleet.wait_ready()
        yield fleet
    finally:
        fleet.close()


@pytest.fixture
def fleet(_fleet: Fleet) -> Fleet:
    _fleet.whole()
    return _fleet


@pytest.fixture(scope="module")
def replica(config: settings.Settings) -> Iterator[Replica]:
    replica = Replica(config).start()
    yield replica
    replica.stop()


class Desk:
    """A person at the HTTP API."""

    def __init__(self, replica: Replica, config: settings.Settings) -> None:
        self.http = replica.client
        self.config = config

    def upload(self, text: str) -> str:
        answer = self.http.post("/datasets", content=text.encode(), headers={"Content-Type": "text/csv"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["dataset_id"])

    def ask(self, dataset: str, model: str = "sum", expect: int = 202, key: str = "", **more: Any) -> Json:
        headers = {"Idempotency-Key": key} if key else {}
        body = {"model": model, "dataset": {"id": dataset}, **more}
        answer = self.http.post("/batch-predictions", json=body, headers=headers)
        assert answer.status_code == expect, answer.text
        found: Json = answer.json()
        return found

    def job(self, job_id: str) -> Json:
        found: Json = self.http.get(f"/jobs/{job_id}").json()
        return found

    def wait(self, job_id: str, reached: Callable[[Json], bool], what: str, timeout_s: float = 120) -> Json:
        wait_until(lambda: reached(self.job(job_id)), f"{what}: {self.job(job_id)}", timeout_s)
        return self.job(job_id)

    def ended(self, job_id: str) -> Json:
        return self.wait(job_id, lambda job: job["status"] in ENDED, "the job ends")

    def predicting(self, job_id: str) -> None:
        """Wait until some blocks are answered and most are not."""
        self.wait(job_id, lambda job: job["progress"]["stage"] == "predicting", "rows are predicted")

    def output(self, job_id: str, expect: int = 200, **given: Any) -> httpx.Response:
        answer = self.http.get(f"/jobs/{job_id}/output", **given)
        assert answer.status_code == expect, answer.text
        return answer

    def drafts(self, job_id: str) -> list[str]:
        return sorted(path.name for path in (self.config.paths.predictions / ".tmp").glob(f"{job_id}-*"))


@pytest.fixture
def desk(fleet: Fleet, replica: Replica, config: settings.Settings) -> Desk:
    return Desk(replica, config)


@pytest.fixture(scope="module")
def ledger(config: settings.Settings) -> Iterator[Ledger]:
    ledger = Ledger(config.ledger)
    yield ledger
    ledger.close()
