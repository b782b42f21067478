"""A process that has loaded what a child needs and becomes one by forking: ``python -m trainer.fork_server <module>``.

Between ``forking``, in the trainer, and the module: its ``PRELOADED`` names what is imported here, its
``main(arguments)`` is what a fork runs. Importing scikit-learn, pandas and skl2onnx takes seconds of processor time,
a fork a hundredth of one. Standard input is a socket of packets: arguments as JSON come in with two descriptors to
write to; ``pid <number>`` and, at its end, ``ended <status>`` go out; the next packet lets its number be used again.
One fork at a time. Nothing here has threads of Python's, and libraries' own (OpenBLAS) prepare for a fork.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from trainer.leash import die_with

PACKET_BYTES = 64 * 1024
"""Most of one packet."""


def main(arguments: list[str]) -> int:
    """Serve until the trainer closes its end."""
    [module] = arguments
    channel = socket.socket(fileno=os.dup(0))
    _preload(module)
    # What is here now stays, so a fork need not copy it only because a collector has looked at it.
    gc.freeze()
    server = os.getpid()
    while True:
        packet, descriptors, _, _ = socket.recv_fds(channel, PACKET_BYTES, 2)
        if not packet:
            return 0
        pid = os.fork()
        if pid == 0:
            channel.close()
            _become(module, server, json.loads(packet), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        if not _attend(pid, channel):
            return 0


def _preload(module: str) -> None:
    # What cannot be loaded is left to the fork, whose standard error somebody reads.
    with suppress(Exception):
        for name in importlib.import_module(module).PRELOADED:
            importlib.import_module(name)


def _attend(pid: int, channel: socket.socket) -> bool:
    """Say how the fork ended and wait until that was heard; False when the trainer is gone, and with it the fork."""
    channel.send(f"pid {pid}".encode())
    ending = os.pidfd_open(pid)
    ready, _, _ = select.select([ending, channel.fileno()], [], [])
    if ending not in ready:
        os.kill(pid, signal.SIGKILL)
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    os.close(ending)
    assert found is not None
    status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
    with suppress(OSError):
        channel.send(f"ended {status}".encode())
        # Until then the number stays a zombie's, so that whoever kills the fork's group kills no other.
        heard = channel.recv(PACKET_BYTES)
        os.waitpid(pid, 0)
        return bool(heard)
    return False


def _become(module: str, server: int, arguments: Sequence[str], descriptors: Sequence[int]) -> None:
    """In the fork: run the module's ``main`` as a program would, and end."""
    status = 1
    try:
        die_with(server)
        os.setsid()
        _take(descriptors)
        _draw_anew()
        status = int(importlib.import_module(module).main(list(arguments)) or 0)
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        # Not by returning: the rest of this stack is the server's.
        os._exit(status & 0xFF)


def _take(descriptors: Sequence[int]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for standard, given in enumerate((nothing, *descriptors)):
        os.dup2(given, standard)
    for given in (nothing, *descriptors):
        os.close(given)


def _draw_anew() -> None:
    """Seed NumPy's generator: forks begin with their parent's, and would draw the same numbers."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
