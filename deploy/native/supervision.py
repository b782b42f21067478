"""Talking to the supervisor: start it, ask it, tell it what changed, end it.

Between ``make`` and the processes of the flow. The supervisor (supervisord) is reached on a Unix
socket in the stack's home, with a time limit on every call.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, cast

from deploy.native import strays
from deploy.native.layout import DeploymentError, Layout

_SHUTDOWN_STATE = 6
"""The supervisor's number for a call that came after it was told to stop."""
_CALL_TIMEOUT_S = 10.0
_STOP_MARGIN_S = 10.0
"""Seconds beyond what the programs may take, after which the supervisor kills them."""
_STOP_TIMEOUT_S = 3_600.0
"""For what the supervisor ends anyhow: it kills each program after its own time, which may be a long drain."""


class SupervisorAway(Exception):
    """The supervisor does not answer."""


class _Stopping(DeploymentError):
    """The supervisor has been told to stop, and takes no more commands."""


@dataclass(frozen=True)
class ProcessState:
    """What the supervisor knows of one process; ``state`` is its own word, such as RUNNING or BACKOFF."""

    name: str
    group: str
    state: str
    pid: int
    uptime_s: int
    note: str


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the supervisor's socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        unix = socket.socket(socket.AF_UNIX)
        unix.settimeout(self.timeout)
        try:
            unix.connect(self._path)
        except OSError:
            unix.close()
            raise
        self.sock = unix


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over the supervisor's socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__()
        self._path, self._timeout_s = path, timeout_s

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        # What close() looks for; a connection is used for one call.
        connection = _UnixConnection(self._path, self._timeout_s)
        self._connection = host, connection
        return connection


class Supervisor:
    """The supervisor of one stack, running or not."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it as a daemon with the generated configuration. Raises DeploymentError."""
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._layout.supervisor_config)]
        done = subprocess.run(
            command, env=dict(environment), cwd=self._layout.checkout, capture_output=True, text=True, timeout=60
        )
        if done.returncode != 0:
            raise DeploymentError(f"The supervisor did not start:\n{done.stdout}{done.stderr}")

    def running(self) -> bool:
        """Whether it answers."""
        try:
            self._call("getState")
        except SupervisorAway:
            return False
        return True

    def processes(self) -> list[ProcessState]:
        """Every process, in the order of the flow's start. Raises SupervisorAway."""
        found = cast("list[dict[str, Any]]", self._call("getAllProcessInfo"))
        return [
            ProcessState(
                one["name"],
                one["group"],
                one["statename"],
                one["pid"],
                one["now"] - one["start"] if one["statename"] == "RUNNING" else 0,
                one["spawnerr"] or one["description"],
            )
            for one in found
        ]

    def update(self, wait_ready: Callable[[str], object], before_removal: Callable[[], object]) -> list[str]:
        """Apply a rewritten configuration and return the names of what changed.

        What does not run is started again first; then comes what is new. What changed is stopped and started one
        process after another, each once ``wait_ready`` of the one before it has returned: there is always a replica
        and a predictor that answers. What is too much goes last, after ``before_removal``.
        """
        [[added, changed, removed]] = self._call("reloadConfig")
        begun = self._begin_again({*changed, *removed})
        for name in added:
            self._call("addProcessGroup", name)
            wait_ready(name)
        for name in changed:
            self._remove(name)
            self._call("addProcessGroup", name)
            wait_ready(name)
        before_removal()
        for name in removed:
            self._remove(name)
        return [*added, *changed, *removed, *begun]

    def signal(self, name: str, number: str) -> bool:
        """Send a process a signal, such as "HUP", once it has started; False when it does not run."""
        end = time.monotonic() + _CALL_TIMEOUT_S
        while (state := self._state(name)) == "STARTING" and time.monotonic() < end:
            time.sleep(0.05)
        if state == "RUNNING":
            self._call("signalProcess", f"{name}:{name}", number)
        return state == "RUNNING"

    def _state(self, name: str) -> str:
        return next((one.state for one in self.processes() if one.name == name), "")

    def _remove(self, name: str) -> None:
        self._halt(name)
        self._call("removeProcessGroup", name)

    def _halt(self, name: str) -> None:
        """Return once a program has stopped, also one that somebody else has told to. Raises DeploymentError."""
        # A group of its own each (supervisor_config), so one process.
        self._call("stopProcessGroup", name, False)
        end = time.monotonic() + _STOP_TIMEOUT_S
        while self._state(name) in ("RUNNING", "STARTING", "BACKOFF", "STOPPING"):
            if time.monotonic() > end:
                raise DeploymentError(f"{name} does not stop, and could not be killed: its log may say why.")
            time.sleep(0.05)

    def _begin_again(self, but: Set[str]) -> list[str]:
        """Start what somebody stopped, what gave up, and what pauses before its next try. Returns their names."""
        states = ("STOPPED", "STOPPING", "EXITED", "FATAL", "BACKOFF")
        waiting = [one.name for one in self.processes() if one.state in states and one.name not in but]
        for name in waiting:
            # The pause grows by a second with each try, and its reason may be gone.
            self._halt(name)
            self._call("startProcess", f"{name}:{name}", False)
        return waiting

    def stop(self) -> None:
        """Stop every process in order, then the supervisor itself; returns when it is gone or out of time."""
        try:
            pid = self._call("getPID")
            # One after another, each within its own time.
            most_s = sum(one["stopwaitsecs"] for one in self._call("getAllConfigInfo")) + _STOP_MARGIN_S
            self._call("shutdown")
        except _Stopping:
            try:
                pid, most_s = int(self._layout.supervisor_pid.read_text()), _STOP_TIMEOUT_S
            except FileNotFoundError:
                return
        strays.wait_gone({pid}, most_s)

    def clear(self) -> int:
        """End every process of the stack and remove stale files, without the supervisor's help.

        Raises DeploymentError, and leaves the files, where a process is another user's.
        """
        left = strays.find(self._layout.home)
        try:
            strays.end(left)
        except PermissionError as error:
            pids = ", ".join(map(str, left))
            raise DeploymentError(f"Another user started this stack (pids {pids}): run this as that user.") from error
        stale = (self._layout.supervisor_socket, self._layout.supervisor_pid, self._layout.run / "nginx.pid")
        for file in stale:
            file.unlink(missing_ok=True)
        return len(left)

    def _call(self, method: str, *args: Any, timeout_s: float = _CALL_TIMEOUT_S) -> Any:
        transport = _Transport(str(self._layout.supervisor_socket), timeout_s)
        with contextlib.closing(transport):
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            try:
                return getattr(proxy.supervisor, method)(*args)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode == _SHUTDOWN_STATE:
                    raise _Stopping("It is stopping: run `make up` again when it has stopped.") from fault
                raise DeploymentError(f"The supervisor refused {method}: {fault.faultString}") from fault
            except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
                raise SupervisorAway(str(error)) from error
