"""A child process of the trainer: from a command to its lines, its end, or its killing.

Comes in: a command, or in ``forking`` a module. Goes out: the newest line of its output, and how it
ended. The child is in a session of its own, so that it is killed with everything it started, and dies
with the trainer.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Self

_LINE_BYTES = 4 * 1024 * 1024
_TAIL_LINES = 40
_TAIL_LINE_BYTES = 2_000
_END_WAIT_S = 10.0


class Child(ABC):
    """A running program. Leave it (``with``) to have it and all it started ended."""

    def __init__(self, output: IO[bytes], errors: IO[bytes]) -> None:
        """``output`` and ``errors`` are the reading ends of what it writes."""
        self.exit_code: int | None = None
        self._moved = threading.Condition()
        self._newest: bytes | None = None
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)
        self._readers = [
            threading.Thread(target=self._read, args=(pipe, take), name="child-pipe", daemon=True)
            for pipe, take in ((output, self._take_line), (errors, self._take_error))
        ]
        for reader in self._readers:
            reader.start()

    @property
    @abstractmethod
    def pid(self) -> int:
        """The process id; also its session's and its group's."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether the program has ended; then ``end`` gives its last words."""

    @abstractmethod
    def _wait(self, timeout_s: float) -> int | None:
        """Its status, once it has one; its number may then become another process's."""

    @property
    def error_tail(self) -> str:
        """The end of what it wrote to standard error; complete after ``end``."""
        return b"".join(self._tail).decode(errors="replace")

    def newest_line(self, wait_s: float) -> bytes | None:
        """The newest line of its output not yet given, waited for; None when none comes.

        Lines that came in between are skipped: only the newest says where it is.
        """
        with self._moved:
            self._moved.wait_for(lambda: self._newest is not None, wait_s)
            line, self._newest = self._newest, None
            return line

    def end(self) -> int | None:
        """Kill what still runs of it and read what it said; its status, or minus the signal's number."""
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.exit_code = self._wait(_END_WAIT_S)
            for reader in self._readers:
                reader.join(_END_WAIT_S)
        return self.exit_code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def _read(self, pipe: IO[bytes], take: Callable[[bytes], None]) -> None:
        with pipe:
            while line := pipe.readline(_LINE_BYTES):
                take(line)

    def _take_line(self, line: bytes) -> None:
        with self._moved:
            self._newest = line
            self._moved.notify_all()

    def _take_error(self, line: bytes) -> None:
        self._tail.append(line[:_TAIL_LINE_BYTES])


class ChildProcess(Child):
    """A command that runs."""

    def __init__(self, command: Sequence[str], *, memory_bytes: int = 0) -> None:
        """Start ``command``; ``memory_bytes`` caps its address space (0: it is not capped here)."""
        self._process = subprocess.Popen(
            on_a_leash(command, memory_bytes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        super().__init__(self._process.stdout, self._process.stderr)

    @property
    def pid(self) -> int:
        """The process id; also its session's and its group's."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the program has ended; then ``end`` gives its last words."""
        # It stays a zombie until ``end``, so its number cannot become another process's meanwhile.
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return self.exit_code is not None or os.waitid(os.P_PID, self.pid, options) is not None

    def _wait(self, timeout_s: float) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None


def on_a_leash(command: Sequence[str], memory_bytes: int = 0) -> list[str]:
    """The command that runs ``command`` so that it ends with this process (``leash``)."""
    return [sys.executable, "-m", "trainer.leash", str(os.getpid()), str(memory_bytes), *command]
