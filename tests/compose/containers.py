"""The Compose stack as its tests see it: commands of the engine, containers, and what is inside them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.source_tree import CHECKOUT

SERVICES = ("door", "nginx", "api", "worker", "trainer", "predictor", "rabbitmq", "postgres")
"""What keeps running."""
ONCE = ("secrets", "provision")
"""What ends by itself."""


def wait_for(condition: Callable[[], object], what: str, timeout_s: float) -> None:
    """Wait for a condition that the engine is asked for: each look costs processes, so there are two a second."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.5)


class Compose:
    """One project on the engine of this machine."""

    def __init__(self, project: str, port: int) -> None:
        self.project, self.port = project, port
        self.url = f"http://127.0.0.1:{port}"
        self.grpc = f"127.0.0.1:{port + 1}"
        ports = {"WARREN_PORT": str(port), "WARREN_GRPC_PORT": str(port + 1)}
        own = {"COMPOSE_PROJECT_NAME": project, **ports, "DOCKER_BUILDKIT": "0"}
        self._environment = {**os.environ, **own}

    def __call__(self, *arguments: str, timeout_s: float = 300, check: bool = True) -> str:
        """``docker compose …``: what it says."""
        return self.run("docker", "compose", *arguments, timeout_s=timeout_s, check=check)

    def run(self, *command: str, timeout_s: float = 120, check: bool = True) -> str:
        done = subprocess.run(
            command, cwd=CHECKOUT, env=self._environment, capture_output=True, text=True, timeout=timeout_s
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self, *arguments: str) -> None:
        self("up", "-d", "--wait", "--wait-timeout", "150", *arguments, timeout_s=200)

    def containers(self, service: str) -> list[str]:
        """Ids of a service's containers, running or not."""
        return self("ps", "-a", "-q", service).split()

    def inspect(self, container: str) -> Any:
        [found] = json.loads(self.run("docker", "inspect", container))
        return found

    def inside(self, container: str, *command: str, check: bool = True) -> str:
        return self.run("docker", "exec", container, *command, check=check)

    def health(self, container: str) -> str:
        return str(self.inspect(container)["State"].get("Health", {}).get("Status", "none"))

    def logs(self, service: str) -> str:
        return self("logs", "--no-color", "--no-log-prefix", service)

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def image_bytes(self, image: str) -> int:
        return int(self.run("docker", "image", "inspect", "-f", "{{.Size}}", image))

    def keep_logs(self, folder: Path) -> None:
        """What a failed run leaves for whoever looks into it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.project}.log").write_text(self("logs", "--no-color", "-t"))
