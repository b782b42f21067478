"""What a process holds: rings are collected while it waits for its end, and large freed blocks leave it at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref

import pytest

from tests.rabbit import wait_until
from wire import held_memory

_ARENAS = """
import sys, threading
from wire import held_memory
if sys.argv[1] == "few":
    held_memory.share_arenas()
together, done = threading.Barrier(9), threading.Barrier(9)

def work():
    together.wait()
    held = [bytearray(10_000) for _ in range(50)]
    done.wait()

for _ in range(8):
    threading.Thread(target=work).start()
together.wait()
parts = [line.split() for line in open("/proc/self/maps")]
starts = [int(part[0].partition("-")[0], 16) for part in parts if part[1].startswith("rw") and len(part) == 5]
done.wait()
print(sum(start % 2**26 == 0 for start in starts))
"""
"""How many arenas of glibc's eight busy threads have; each but the first begins at a multiple of 64 MiB."""


def arenas(which: str) -> int:
    said = subprocess.run([sys.executable, "-c", _ARENAS, which], capture_output=True, text=True, check=True)
    return int(said.stdout)


class Ring:
    def __init__(self) -> None:
        self.ring = self


def test_rings_are_collected_while_a_process_waits_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_memory, "COLLECT_S", 0.01)
    monkeypatch.setattr(held_memory, "settle", lambda *, busy: None)
    ended = threading.Event()
    waiting = threading.Thread(target=held_memory.collect_until, args=[ended])
    waiting.start()
    gone = weakref.ref(Ring())
    wait_until(lambda: gone() is None, "it was collected")
    ended.set()
    waiting.join(10)
    assert not waiting.is_alive()


def test_threads_share_two_arenas() -> None:
    assert arenas("few") <= 2 < arenas("many")


def test_without_glibc_nothing_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_mallopt", "_malloc_trim"):
        monkeypatch.setattr(held_memory, name, None)
    held_memory.share_arenas()
    held_memory.collect()
