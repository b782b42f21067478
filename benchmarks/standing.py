"""The servers of one model, all started, and all but the one under test stopped by SIGSTOP.

So each is started once per model, not once per measurement, which leaves the hour to measuring and
lets what is compared run within a minute. A stopped process uses no CPU, holds its memory, and goes
on where it was. Warren is not stopped: its broker's heartbeats would be missed.
"""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import processes
from benchmarks.client import Address
from benchmarks.servers import HERE, Server
from benchmarks.workloads import Workload

PEER_PORT = 9480
"""The first peer's first port; each has ten."""

Environment = Callable[[str], Path]
"""Finds the folder of programs of a peer's virtual environment."""


class Standing:
    """One started server: its address and its processes."""

    def __init__(self, server: Server, port: int, running: processes.Running) -> None:
        self.server = server
        self.url = f"http://127.0.0.1:{port}{server.path}"
        self.running = running

    def pause(self) -> None:
        """Stop it by SIGSTOP once it is still, unless its broker would take that for its end."""
        self.running.settle()
        if self.server.stops:
            self.running.pause()


def start(server: Server, workload: Workload, port: int, bin_folder: Path, work: Path, amqp_url: str) -> Standing:
    """Start a peer with the workload's model; returns when the commands run."""
    folder = work / "peers" / server.name.replace(" ", "-").replace(",", "") / workload.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    peer = HERE / "peers" / server.environment
    variables = {k: v for k, v in os.environ.items() if not k.startswith("WARREN_")}
    variables |= {
        "BENCH_MODEL": str(work / "models" / workload.name),
        "BENCH_BATCHING": server.batching,
        "BENCH_AMQP": amqp_url,
        "PYTHONPATH": f"{HERE / 'peers'}:{peer}",
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "BENTOML_DO_NOT_TRACK": "True",
        "RAY_USAGE_STATS_ENABLED": "0",
        "UVICORN_LOG_LEVEL": "warning",
        processes.MARK: str(work),
    }
    with (folder / "log.txt").open("wb") as log:
        for command in server.prepare(bin_folder, port, folder):
            subprocess.run(command, cwd=peer, env=variables, stdout=log, stderr=log, check=True, timeout=120)
    commands = server.commands(bin_folder, port, folder)
    return Standing(server, port, processes.Running(commands, variables, peer, folder / "log.txt"))


class Row:
    """The standing servers of one workload by name, and why others are not among them."""

    def __init__(self) -> None:
        self.servers: dict[str, Standing] = {}
        self.failed: dict[str, str] = {}

    def start(self, servers: Sequence[Server], workload: Workload, find: Environment, work: Path, amqp: str) -> None:
        """Start all, two at a time; each is stopped by SIGSTOP once it answers."""

        def one(at: int) -> None:
            self._start(servers[at], workload, PEER_PORT + 10 * at, find, work, amqp)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(one, range(len(servers))))

    def renew(self, name: str, workload: Workload, find: Environment, work: Path, amqp: str) -> None:
        """Start one anew, so that it knows nothing of earlier load."""
        old = self.servers.pop(name)
        old.running.stop()
        self._start(old.server, workload, Address.of(old.url).port, find, work, amqp)

    def _start(self, server: Server, workload: Workload, port: int, find: Environment, work: Path, amqp: str) -> None:
        try:
            standing = start(server, workload, port, find(server.environment), work, amqp)
            self.servers[server.name] = standing
            question = server.encode(workload.rows(1, seed=5), workload)
            processes.wait_for(standing.url, question, 120, standing.running.alive)
            standing.pause()
        except (OSError, TimeoutError, subprocess.SubprocessError) as error:
            self.failed[server.name] = f"{type(error).__name__}: {error}"

    def stop(self) -> None:
        """End every process."""
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda standing: standing.running.stop(), self.servers.values()))
        self.servers.clear()
