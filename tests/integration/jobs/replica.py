"""A replica under a real HTTP server in this process, so that streams and broken uploads are real."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import uvicorn

from api.app import create_app
from tests.rabbit import wait_until
from wire import settings


class Replica:
    """One replica on a port of its own; ``client`` asks it."""

    def __init__(self, config: settings.Settings) -> None:
        self.app = create_app(config)
        options: dict[str, Any] = {"port": 0, "log_config": None, "timeout_graceful_shutdown": 3}
        self._server = uvicorn.Server(uvicorn.Config(self.app, host="127.0.0.1", **options))
        self._thread = threading.Thread(target=asyncio.run, args=(self._server.serve(),), daemon=True)

    def start(self) -> Replica:
        self._thread.start()
        wait_until(lambda: self._server.started, "the replica listens", 30)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)
        wait_until(lambda: self.app.state.gateway.rpc.connected, "the replica has its broker", 30)
        return self

    @property
    def streams(self) -> int:
        return len(self.app.state.event_streams._watchers)

    def stop(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(20)


BODY: dict[str, Any] = {"model": "good", "dataset": {"sample": "iris"}, "target": "target"}
CSV = b"a,target\n1,x\n2,y\n"
TYPE = {"content-type": "text/csv"}


def fields(answer: httpx.Response) -> list[str]:
    """The places a problem document names."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return [error["at"] for error in answer.json().get("errors", [])]


def data_files(config: settings.Settings) -> set[str]:
    """Every file below the datasets folder."""
    return {str(path.relative_to(config.paths.datasets)) for path in config.paths.datasets.rglob("*") if path.is_file()}
