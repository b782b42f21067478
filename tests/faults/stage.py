"""A stack to be broken: started as ``make up`` does, with failpoints in its processes, and ways to hurt each."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import httpx

from deploy.native import commands, ports, strays
from deploy.native.layout import Layout
from deploy.native.ports import PortBlock
from deploy.native.programs import Program
from deploy.native.programs import node as broker_node
from deploy.native.programs import programs as plain_programs
from deploy.native.supervision import Supervisor
from model_store.volume import Volume
from tests.acceptance.stack import TLS, Stack
from tests.faults import changed_programs, mounts, quick_child
from tests.faults.points import POINTS
from tests.faults.prepared_artefact import prepare
from tests.faults.proxy import Proxy
from tests.faults.tuning import TUNING
from tests.rabbit import wait_until
from wire import topology

# Two runs side by side each look for ports of their own.
FIRST_PORT = 8150 + 50 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
PROCESSES = ("api-1", "api-2", "worker", "trainer", "predictor-1", "predictor-2")
"""Those of ours."""
_LOOK_S = 0.05
"""How often a starting process is asked; each question takes time from it and from the load."""


@dataclass
class Stage(Stack):
    """The stack; ``proxies`` are the proxies between a role and the broker, by role."""

    proxied: tuple[topology.Role, ...] = ()
    proxies: dict[str, Proxy] = field(default_factory=dict)
    woven: bool = True
    second_trainer: bool = False
    mounted: list[Path] = field(default_factory=list)
    own_clock: bool = False
    _actions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def set(
        cls,
        *,
        woven: bool = True,
        proxied: Sequence[topology.Role] = (),
        second_trainer: bool = False,
        volume_mb: int = 0,
        ledger_mb: int = 0,
        disk_mb: int = 0,
        own_clock: bool = False,
        **environment: str,
    ) -> Stage:
        """A stage in a home of its own, not started yet.

        ``proxied`` roles reach the broker through a proxy; ``volume_mb`` and ``ledger_mb`` put the model
        volume and the ledger on memory file systems of that size, which root can mount, ``disk_mb`` the volume
        on an ext4; ``own_clock`` lets the wall clock of our processes jump.
        """
        port = next(port for port in range(FIRST_PORT, FIRST_PORT + 50) if not ports.taken(port))
        # Alone in a folder of its own, so that whatever comes up beside it is seen.
        outside = Path(tempfile.mkdtemp(prefix="warren-test-"))
        outside.chmod(0o755)
        home = str(outside / outside.name[-8:])
        stage = cls.fresh(WARREN_PORT=str(port), WARREN_HOME=home, **{**TUNING, **environment})
        stage.woven, stage.proxied, stage.second_trainer = woven, tuple(proxied), second_trainer
        stage.own_clock = own_clock
        stage.points.mkdir()
        stage.clock.write_text("+0")
        prepare(stage.layout.home / quick_child.PREPARED)
        models, ledger = stage.layout.models, stage.layout.ledger
        for folder, size_mb, mount in (
            (models, volume_mb, mounts.in_memory),
            (ledger, ledger_mb, mounts.in_memory),
            (models, disk_mb, mounts.on_disk),
        ):
            if size_mb:
                folder.mkdir()
                mount(folder, size_mb)
                stage.mounted.append(folder)
        return stage

    @property
    def points(self) -> Path:
        """Where a failpoint is armed."""
        return self.layout.home / "points"

    @property
    def clock(self) -> Path:
        """A file that holds by how many seconds the wall clock of our processes is wrong, such as ``+3600``."""
        return self.layout.home / "clock"

    def up(self) -> str:
        with mock.patch.object(commands, "programs", self._programs):
            return super().up()

    def remove(self) -> None:
        self.down()
        while self.mounted:
            mounts.unmount(self.mounted.pop())
        super().remove()
        shutil.rmtree(self.layout.home.parent, ignore_errors=True)

    def remount_read_only(self) -> bool:
        """Whether it worked: it does not while a file is open for writing."""
        command = ["mount", "-o", "remount,ro", self.layout.models]
        return subprocess.run(command, capture_output=True).returncode == 0

    def remount_writable(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", self.layout.models], check=True)

    def down(self) -> str:
        for proxy in self.proxies.values():
            proxy.close()
        return super().down()

    # ------------------------------------------------------------------ ends and freezes

    def pids(self, name: str) -> list[int]:
        """Everything a program is and has started: a replica's master and worker, a trainer's child."""
        return strays.find(self.layout.home, name)

    def pid(self, name: str) -> int:
        return self.processes()[name].pid

    def kill(self, name: str) -> None:
        """``kill -9`` of a program and all it started, at once; returns when they are gone.

        A kill of nobody would count as one: AssertionError where the program does not run.
        """
        found = self.pids(name)
        assert found, f"{name} does not run"
        self.kill_pids(found)

    def kill_pids(self, pids: Sequence[int]) -> None:
        """``kill -9`` of processes of this stack; returns when they are gone."""
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(strays.alive, pids)), f"{pids} are gone")

    def freeze(self, name: str) -> list[int]:
        """SIGSTOP of a program and all it started; ``thaw`` takes what this gives."""
        found = self.pids(name)
        for pid in found:
            _signal(pid, signal.SIGSTOP)
        return found

    def thaw(self, pids: Sequence[int]) -> None:
        for pid in pids:
            _signal(pid, signal.SIGCONT)

    def reload_nginx(self) -> None:
        """Give Nginx new workers, as a changed configuration would."""
        before = {*self.pids("nginx")}
        _signal(self.pid("nginx"), signal.SIGHUP)
        wait_until(lambda: {*self.pids("nginx")} - before, "Nginx has new workers", 20)

    def metric(self, name: str, metric: str) -> float:
        """The sum of a metric of a program over its labels. Raises httpx.HTTPError where it cannot be asked."""
        url = f"http://127.0.0.1:{self.block.metrics(name)}/metrics"
        text = httpx.get(url, timeout=30, trust_env=False, verify=TLS).raise_for_status().text
        lines = [line for line in text.splitlines() if line.startswith((f"{metric} ", f"{metric}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def restart(self, name: str, timeout_s: float = 60) -> None:
        """Stop a program as a deployment does (SIGTERM, draining), start it again, wait until it is ready."""
        supervisor = Supervisor(self.layout)
        full = f"{self.processes()[name].group}:{name}"
        supervisor._call("stopProcess", full, timeout_s=timeout_s)
        supervisor._call("startProcess", full, timeout_s=timeout_s)
        self.wait_back(name, timeout_s=timeout_s)

    def wait_back(self, name: str, killed: int = 0, timeout_s: float = 60) -> float:
        """Wait until a program runs, is another process than ``killed``, and is ready; the seconds it took."""
        began = time.monotonic()

        def back() -> bool:
            one = self.processes().get(name)
            return one is not None and one.pid not in (0, killed) and self.ready_itself(name)

        wait_until(back, f"{name} is back", timeout_s, every_s=_LOOK_S)
        return time.monotonic() - began

    def wait_ready(self, *names: str, timeout_s: float = 60) -> None:
        """Wait until all of these programs say that they are ready."""
        wait_until(lambda: all(map(self.ready_itself, names)), f"{names} are ready", timeout_s, every_s=_LOOK_S)

    def ready_itself(self, name: str) -> bool:
        """Whether a program says so on a port of its own."""
        if name.startswith("api-"):
            return self.ready(self.replicas[int(name[-1]) - 1])
        if name in PROCESSES:
            return self.ready(f"http://127.0.0.1:{self.block.metrics(name)}")
        if name == changed_programs.SECOND_TRAINER:
            return self.ready(f"http://127.0.0.1:{changed_programs.second_metrics(self.block)}")
        return self.ready() if name == "nginx" else ports.taken(self.block.amqp)

    def limit(self, pid: int, which: int, soft: int | None = None) -> tuple[int, int]:
        """What a process of this stack may use of a resource (soft, hard); with ``soft``, from now on."""
        held = resource.prlimit(pid, which)
        return held if soft is None else resource.prlimit(pid, which, (soft, held[1]))

    # ------------------------------------------------------------------ failpoints

    def arm(self, point: str, action: str = "kill", spare: int = 0) -> None:
        """The next one who comes to this point is ended (``kill``), frozen, or gets an OSError (``raise``).

        The process ``spare`` passes it unharmed.
        """
        assert point in POINTS, point
        assert self.woven
        (self.points / f"{point}.fired").unlink(missing_ok=True)
        self._actions[point] = action
        part = self.points / f"{point}.part"
        part.write_text(f"{action} {spare}" if spare else action)
        part.rename(self.points / point)

    def fired(self, point: str) -> bool:
        """Whether somebody came to the point; where it kills, whether he is gone."""
        try:
            pid = int((self.points / f"{point}.fired").read_text())
        except FileNotFoundError:
            return False
        return self._actions[point] != "kill" or not strays.alive(pid)

    def who_fired(self, point: str) -> int:
        """The process that came to the point."""
        return int((self.points / f"{point}.fired").read_text())

    def disarm(self, point: str) -> None:
        (self.points / point).unlink(missing_ok=True)

    # ------------------------------------------------------------------ the broker

    def ctl(self, *arguments: str) -> str:
        """What ``rabbitmqctl`` prints."""
        return broker_node(self.layout, self.block).ctl(*arguments)

    def connections(self) -> Counter[str]:
        """How many connections each user has at the broker."""
        return Counter(self.ctl("-q", "list_connections", "user").split())

    def queues(self) -> dict[str, int]:
        """Messages in each shared queue, waiting and unacknowledged."""
        text = self.ctl("list_queues", "-p", "warren", "name", "messages")
        found = [line.split("\t") for line in text.splitlines() if line.startswith("warren.")]
        return {name: int(count) for name, count in found}

    # ------------------------------------------------------------------ inside

    def _programs(self, layout: Layout, block: PortBlock, tuning: Mapping[str, str]) -> list[Program]:
        for role in self.proxied:
            if role not in self.proxies:
                self.proxies[role] = Proxy("127.0.0.1", block.amqp)
        found = plain_programs(layout, block, tuning)
        if self.second_trainer:
            found.append(changed_programs.second(next(one for one in found if one.name == "trainer"), block))
        return [self._changed(program) for program in found]

    def _changed(self, program: Program) -> Program:
        role = program.group
        if role not in topology.ROLES:
            return program
        if self.woven:
            program = changed_programs.woven(program, self.points)
        if self.own_clock:
            program = changed_programs.by_clock(program, self.clock)
        if role in self.proxies:
            program = changed_programs.through(program, self.proxies[role].port)
        return program

    @property
    def volume(self) -> Volume:
        return Volume(self.layout.models)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
