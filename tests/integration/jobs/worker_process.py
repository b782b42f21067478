"""The real worker as a process of its own, with times short enough for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.rabbit import wait_until
from wire import settings

ROOT = Path(__file__).parents[3]


class WorkerProcess:
    """``python -m api.jobs.worker``; its log lines end up in a file."""

    def __init__(self, config: settings.Settings, home: Path, **environment: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / f"worker-{len(list(home.glob('worker-*')))}.log"
        own = variables(config.model_dump(mode="json"), "WARREN")
        with self.log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api.jobs.worker"],
                cwd=ROOT,
                env={**os.environ, **own, **environment},
                stderr=stderr,
                stdout=subprocess.DEVNULL,
            )

    def wait_ready(self) -> WorkerProcess:
        def ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            try:
                return httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).status_code == 200
            except (httpx.HTTPError, StopIteration):
                return False

        wait_until(ready, f"the worker is ready: {self.log}", 60)
        return self

    @property
    def port(self) -> int:
        return int(next(line["port"] for line in self.lines() if line["action"] == "process.started"))

    def lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.log.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"action": "not json", "line": line})
        return [line if "action" in line else {"action": ""} for line in found]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def close(self) -> None:
        """Stop it as a supervisor does; a worker that does not stop is a failure."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            try:
                assert self.terminate() == 0
            finally:
                self.process.kill()


def variables(tree: dict[str, Any], prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    separator = "_" if prefix == "WARREN" else "__"
    for name, value in tree.items():
        key = f"{prefix}{separator}{name.upper()}"
        if isinstance(value, dict):
            found |= variables(value, key)
        elif value is not None:
            found[key] = str(value)
    return found
