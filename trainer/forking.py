"""Children that are forks of a process which has loaded what they need; the trainer's side of ``fork_server``.

Comes in: arguments for the module's ``main``. Goes out: a Child. The server is started with the first child, which
waits for what it loads as it would alone, and ends when no child was wanted for a while: an idle trainer is small.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

from trainer.child_process import Child, on_a_leash
from trainer.fork_server import PACKET_BYTES

_END_WAIT_S = 10.0


class _Host:
    """A fork server that runs, and the socket to it."""

    def __init__(self, module: str) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = subprocess.Popen(
                on_a_leash([sys.executable, "-m", "trainer.fork_server", module]),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            self.channel.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid

    def ask(self, arguments: tuple[str, ...], descriptors: list[int]) -> None:
        """Have it fork. Raises OSError when it is gone."""
        socket.send_fds(self.channel, [json.dumps(arguments).encode()], descriptors)

    def end(self) -> None:
        """Kill it; its fork, if there is one, dies with it."""
        self.channel.close()
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_WAIT_S)


class ForkServer:
    """Forks that run ``module``'s ``main``, one at a time; for one thread, but for ``close``."""

    def __init__(self, module: str, idle_s: float) -> None:
        """After ``idle_s`` without a child the server ends; 0: with each child."""
        self._module = module
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._host: _Host | None = None
        self._idle: threading.Timer | None = None
        self._children = 0

    def child(self, *arguments: str) -> ForkedChild:
        """A new child. Raises OSError when no process can be started."""
        with self._lock:
            self._children += 1
            self._cancel_idle()
            (out, out_write), (err, err_write) = os.pipe(), os.pipe()
            try:
                host = self._asked(arguments, [out_write, err_write])
            except OSError:
                os.close(out)
                os.close(err)
                raise
            finally:
                os.close(out_write)
                os.close(err_write)
            return ForkedChild(self, host, out, err)

    def _asked(self, arguments: tuple[str, ...], descriptors: list[int]) -> _Host:
        if self._host is not None:
            with suppress(OSError):
                self._host.ask(arguments, descriptors)
                return self._host
            self._drop()  # it died while nobody wanted it
        self._host = _Host(self._module)
        self._host.ask(arguments, descriptors)
        return self._host

    def give_back(self, host: _Host, *, lost: bool) -> None:
        """The child has ended; ``lost``: and its server with it."""
        with self._lock:
            if self._host is not host:
                return
            if lost or not self._idle_s:
                self._drop()
                return
            self._idle = threading.Timer(self._idle_s, self._expire, [self._children])
            self._idle.daemon = True
            self._idle.start()

    def _expire(self, children: int) -> None:
        with self._lock:
            if children == self._children:
                self._drop()

    def close(self) -> None:
        """End the server, and a child that still runs; another ``child`` starts another one."""
        with self._lock:
            self._drop()

    def _cancel_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _drop(self) -> None:
        self._cancel_idle()
        host, self._host = self._host, None
        if host is not None:
            host.end()


class ForkedChild(Child):
    """A fork; before the server has loaded everything, its number is the server's."""

    def __init__(self, server: ForkServer, host: _Host, output: int, errors: int) -> None:
        """``output`` and ``errors`` are descriptors to read from."""
        self._server = server
        self._host = host
        self._pid = 0
        self._status: int | None = None
        self._lost = False
        super().__init__(os.fdopen(output, "rb"), os.fdopen(errors, "rb"))

    @property
    def pid(self) -> int:
        """The process id; also its session's and its group's."""
        if self._status is None:
            self._listen(0)
        return self._pid or self._host.pid

    @property
    def ended(self) -> bool:
        """Whether the program has ended; then ``end`` gives its last words."""
        if self._status is None:
            self._listen(0)
        return self._status is not None

    def _wait(self, timeout_s: float) -> int | None:
        give_up_at = time.monotonic() + timeout_s
        while self._status is None and (left_s := give_up_at - time.monotonic()) > 0:
            self._listen(left_s)
        if not self._lost:
            with suppress(OSError):
                self._host.channel.send(b"heard")
        self._server.give_back(self._host, lost=self._lost or self._status is None)
        return self._status

    def _listen(self, wait_s: float) -> None:
        """Take in what the server says within ``wait_s``."""
        try:
            if not select.select([self._host.channel], [], [], wait_s)[0]:
                return
            said = self._host.channel.recv(PACKET_BYTES)
        except (OSError, ValueError):  # closed meanwhile
            said = b""
        what, _, number = said.partition(b" ")
        if what == b"pid":
            self._pid = int(number)
            self._listen(0)
        elif what == b"ended":
            self._status = int(number)
        else:
            # The server is gone, and a fork of it dies by the same signal.
            self._status, self._lost = -signal.SIGKILL, True
