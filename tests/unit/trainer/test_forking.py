"""Forks of a server that has loaded everything: each is a program of its own, and none outlives the trainer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest

from tests.rabbit import wait_until
from trainer.child_process import Child
from trainer.forking import ForkServer

PROGRAMS = "tests.unit.trainer.forked_programs"
WAIT_S = 60.0


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def server() -> Iterator[ForkServer]:
    server = ForkServer(PROGRAMS, idle_s=WAIT_S)
    yield server
    server.close()


def ended(child: Child) -> int | None:
    with child:
        wait_until(lambda: child.ended, "it ended", WAIT_S)
    return child.exit_code


def words(server: ForkServer, *arguments: str) -> list[str]:
    with server.child(*arguments) as child:
        line = child.newest_line(WAIT_S)
        assert ended(child) == 0, child.error_tail
    assert line is not None
    return line.decode().split()


def test_a_fork_is_a_program_of_its_own(server: ForkServer) -> None:
    child = server.child("say", "a", "b c")
    assert ended(child) == 0
    line = child.newest_line(0)
    assert line is not None
    pid, parent, niceness, session, *rest = line.decode().split()
    assert (int(pid), int(session)) == (child.pid, child.pid)
    assert int(niceness) == min(19, os.nice(0) + 10)
    assert int(parent) not in (os.getpid(), child.pid)
    assert rest == ["a", "b", "c"]
    assert child.error_tail == "in passing\n"


def test_forks_come_from_one_server_and_draw_different_numbers(server: ForkServer) -> None:
    parents = {words(server, "say")[1] for _ in range(3)}
    assert len(parents) == 1
    drawn = [words(server, "draw") for _ in range(3)]
    assert len({numpy for numpy, _, _ in drawn}) == len({python for _, python, _ in drawn}) == 3
    assert {threads for _, _, threads in drawn} == {"1"}


@pytest.mark.parametrize(("arguments", "status"), [(("exit", "3"), 3), (("fail",), 1), (("say",), 0)])
def test_the_status_is_that_of_the_program(server: ForkServer, arguments: tuple[str, ...], status: int) -> None:
    child = server.child(*arguments)
    assert ended(child) == status
    assert ("ValueError: as asked" in child.error_tail) is (arguments == ("fail",))
    assert words(server, "say")


def test_a_fork_is_killed_with_all_it_started_and_the_server_goes_on(server: ForkServer) -> None:
    before = words(server, "say")[1]
    with server.child("stay") as child:
        line = child.newest_line(WAIT_S)
        assert line is not None
        pids = [int(word) for word in line.split()]
        assert pids[0] == child.pid
        assert not child.ended
    assert child.exit_code == -signal.SIGKILL
    wait_until(lambda: not any(map(alive, pids)), "both are gone")
    assert words(server, "say")[1] == before


def test_a_fork_that_was_not_made_yet_can_be_ended() -> None:
    server = ForkServer("tests.unit.trainer.slow_to_load", idle_s=WAIT_S)
    with server.child() as child:
        loading = child.pid
        assert alive(loading)
        assert not child.ended
    assert child.exit_code == -signal.SIGKILL
    wait_until(lambda: not alive(loading), "it is gone")
    server.close()


def test_a_server_that_died_is_replaced(server: ForkServer) -> None:
    first = int(words(server, "say")[1])
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not alive(first), "it is gone")
    assert int(words(server, "say")[1]) != first


def test_a_server_that_dies_takes_its_fork_along(server: ForkServer) -> None:
    child = server.child("stay")
    line = child.newest_line(WAIT_S)
    assert line is not None
    os.kill(psutil.Process(child.pid).ppid(), signal.SIGKILL)
    wait_until(lambda: child.ended, "it ended")
    assert child.end() == -signal.SIGKILL
    wait_until(lambda: not alive(child.pid), "it is gone")
    os.kill(int(line.split()[1]), signal.SIGKILL)
    assert words(server, "say")


def test_an_unused_server_ends_and_a_used_one_does_not() -> None:
    server = ForkServer(PROGRAMS, idle_s=0.3)
    words(server, "say")
    with server.child("stay") as child:
        assert child.newest_line(WAIT_S)
        parent = psutil.Process(child.pid).ppid()
        assert child.newest_line(0.6) is None
        assert alive(parent)
    wait_until(lambda: not alive(parent), "nobody wanted it")
    assert int(words(server, "say")[1]) != parent
    server.close()


def test_one_thread_waits_however_many_children_there_were(server: ForkServer) -> None:
    before = {*threading.enumerate()}
    for _ in range(4):
        words(server, "say")

    def waiting() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one not in before]

    wait_until(lambda: len(waiting()) == 1, "only the newest waits")
    assert isinstance(waiting()[0], threading.Timer)


def test_none_is_kept_where_none_is_wanted() -> None:
    server = ForkServer(PROGRAMS, idle_s=0)
    parent = int(words(server, "say")[1])
    assert not alive(parent)


def test_nothing_outlives_the_trainer() -> None:
    code = (
        "import sys, time; from trainer.forking import ForkServer\n"
        f"child = ForkServer({PROGRAMS!r}, 60).child('stay')\n"
        "sys.stdout.write(child.newest_line(60).decode()); sys.stdout.flush(); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        fork, own = map(int, trainer.stdout.readline().split())
        server = psutil.Process(fork).ppid()
        trainer.kill()
    wait_until(lambda: not alive(server) and not alive(fork), "both are gone")
    os.kill(own, signal.SIGKILL)


def test_a_module_that_is_not_there_is_said() -> None:
    server = ForkServer("tests.no_such_module", idle_s=0)
    child = server.child()
    assert ended(child) == 1
    assert "No module named 'tests.no_such_module'" in child.error_tail
