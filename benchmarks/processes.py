"""Starts a server in its own session, waits until it answers, and says what it cost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "WARREN_BENCH_PEER"
"""The variable that every peer's process has in its environment: the folder of the run it belongs to."""


_QUIET_S = 0.1
"""The kernel counts CPU in steps of 10 ms, and Ray is never quite still: a quarter of this is quiet."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds used so far and memory held now (proportional set size, bytes) by a set of processes."""

    cpu_s: float
    pss_bytes: int


class Running:
    """A server's processes, started together and stopped together."""

    def __init__(self, commands: list[list[str]], environment: dict[str, str], cwd: Path, log: Path) -> None:
        self._log = log.open("ab")
        self._processes = [
            subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            for command in commands
        ]

    @property
    def pids(self) -> list[int]:
        """The processes that were started here; their children are found through them."""
        return [process.pid for process in self._processes]

    def alive(self) -> bool:
        """Whether every process that was started here still runs."""
        return all(process.poll() is None for process in self._processes)

    def settle(self) -> None:
        """Wait, at most 3 s, until nothing works any more: wrk leaves requests under way when it ends.

        A batch that was stopped in the middle would look endless to a batcher that adapts to how long
        its batches take.
        """
        end = time.monotonic() + 3.0
        before = cost(self.pids, memory=False).cpu_s
        while time.monotonic() < end:
            time.sleep(_QUIET_S)
            now = cost(self.pids, memory=False).cpu_s
            if now - before < _QUIET_S / 4:
                return
            before = now

    def pause(self) -> None:
        """Stop every process where it is, parents first, so that none misses its children."""
        for pid in self.pids:
            _each(tree(pid), signal.SIGSTOP)

    def go_on(self) -> None:
        """Let paused processes go on, children first, so that they can answer their parents."""
        for pid in self.pids:
            _each(reversed(tree(pid)), signal.SIGCONT)

    def stop(self) -> None:
        """End every process of the sessions started here."""
        self.go_on()
        members = [process for pid in self.pids for process in tree(pid)]
        for process in self._processes:
            _signal(process.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(members, timeout=8)
        for member in alive:
            member.kill()
        psutil.wait_procs(alive, timeout=5)
        for process in self._processes:
            process.wait(timeout=5)
        self._log.close()


def _each(members: Iterable[psutil.Process], number: int) -> None:
    for member in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(number)


def _signal(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return


def tree(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cost(pids: Iterable[int], *, memory: bool = True) -> Cost:
    """What the processes and their children have used and, which takes longer to find out, hold."""
    cpu_s, pss_bytes = 0.0, 0
    for process in {member for pid in pids for member in tree(pid)}:
        try:
            times = process.cpu_times()
            cpu_s += times.user + times.system
            pss_bytes += process.memory_full_info().pss if memory else 0
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return Cost(cpu_s, pss_bytes)


def clear(work: Path) -> int:
    """Kill the peers that a killed run left behind; how many there were."""
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(work):
                left.append(process)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)
    return len(left)


def post(url: str, body: bytes, timeout_s: float = 30.0) -> bytes:
    """The body of the answer to one POST. Raises OSError (urllib's errors) when there is none."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        data: bytes = answer.read()
    return data


def wait_for(url: str, body: bytes, deadline_s: float, alive: Callable[[], bool] = lambda: True) -> bytes:
    """Ask until there is an answer. Raises TimeoutError when there was none in ``deadline_s`` or it died."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            return post(url, body, timeout_s=10)
        except (OSError, urllib.error.URLError) as error:
            if time.monotonic() > end or not alive():
                raise TimeoutError(f"did not answer in {deadline_s:.0f} s, or ended: {error}") from error
            time.sleep(0.2)
