"""What was left behind: processes of a stack whose supervisor was killed or lost its machine.

In comes a stack's home; out go the processes that carry its marker in their environment, or, for
Nginx, which overwrites its own environment, that hold a file of that home open. They are ended
politely, then by force. Reads ``/proc``, so it sees what the invoking user may see.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

MARKER = "WARREN_SUPERVISED"
"""Every process of a stack has this variable; its value is the stack's home."""

PROGRAM = "WARREN_PROGRAM"
"""Every supervised process, and every child of one, has this variable; its value is the program's name."""

_PROC = Path("/proc")
_LISTEN = "0A"


def find(home: Path, program: str = "") -> list[int]:
    """Process ids of everything that belongs to the stack of this home, the caller excepted.

    ``program`` leaves only what a program of that name is or has started.
    """
    marks = {f"{MARKER}={home}".encode()} | ({f"{PROGRAM}={program}".encode()} if program else set())
    nginx_too = program in ("", "nginx")
    others = [pid for pid in _pids() if pid != os.getpid()]
    return [pid for pid in others if _marked(pid, marks) or (nginx_too and _holds(pid, home))]


def end(pids: Iterable[int], polite_s: float = 10.0) -> None:
    """SIGTERM, and SIGKILL for what is still there after ``polite_s`` seconds; returns when all are gone."""
    left = set(pids)
    for number, wait_s in ((signal.SIGTERM, polite_s), (signal.SIGKILL, 10.0)):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        left = wait_gone(left, wait_s)


def wait_gone(pids: set[int], wait_s: float) -> set[int]:
    """Wait until these processes are gone; returns those that still run after ``wait_s`` seconds."""
    end_at = time.monotonic() + wait_s
    left = {pid for pid in pids if alive(pid)}
    while left and time.monotonic() < end_at:
        time.sleep(0.05)
        left = {pid for pid in left if alive(pid)}
    return left


def listener(port: int) -> str:
    """A description of the process that listens on a TCP port, for a message to a person."""
    found = next(iter(listeners(port)), 0)
    return f"{_command(found)!r} (pid {found})" if found else "another process (of another user, perhaps)"


def listeners(port: int) -> list[int]:
    """Process ids that hold a socket listening on a TCP port, as far as the invoking user may see."""
    inodes = _listening_inodes(port)
    return [pid for pid in _pids() if inodes & _socket_inodes(pid)] if inodes else []


def alive(pid: int) -> bool:
    """Whether a process runs: it is there and not a zombie."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()]


def _marked(pid: int, marks: set[bytes]) -> bool:
    try:
        return marks <= {*(_PROC / str(pid) / "environ").read_bytes().split(b"\0")}
    except OSError:
        return False


def _holds(pid: int, home: Path) -> bool:
    """Whether this is an Nginx process that was started with this home."""
    if not _command(pid).startswith("nginx: "):
        return False
    inside = f"{home}/"
    return inside in _command(pid) or any(link.startswith(inside) for link in (_cwd(pid), *_links(pid)))


def _cwd(pid: int) -> str:
    """Where a process stands: the one trace of the home that a worker of a killed Nginx master keeps."""
    try:
        return str((_PROC / str(pid) / "cwd").readlink())
    except OSError:
        return ""


def _command(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _links(pid: int) -> list[str]:
    links = []
    with contextlib.suppress(OSError):
        for entry in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(str(entry.readlink()))
    return links


def _socket_inodes(pid: int) -> set[str]:
    return {link[8:-1] for link in _links(pid) if link.startswith("socket:[")}


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes
