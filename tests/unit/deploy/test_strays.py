import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.native import strays

Child = subprocess.Popen[bytes]
SLEEP = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


def start(children: list[Child], code: str, **environment: str) -> Child:
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **environment}, stdout=subprocess.PIPE)
    children.append(child)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    return child


def test_marked_processes_are_found_and_no_others(children: list[Child], tmp_path: Path) -> None:
    mine = start(children, SLEEP, **{strays.MARKER: str(tmp_path)})
    start(children, SLEEP, **{strays.MARKER: f"{tmp_path}2"})
    start(children, SLEEP, WARREN_HOME=str(tmp_path))
    assert strays.find(tmp_path) == [mine.pid]


def test_a_programs_own_are_told_from_its_neighbours(children: list[Child], tmp_path: Path) -> None:
    trainer = start(children, SLEEP, **{strays.MARKER: str(tmp_path), strays.PROGRAM: "trainer"})
    start(children, SLEEP, **{strays.MARKER: str(tmp_path), strays.PROGRAM: "worker"})
    assert strays.find(tmp_path, "trainer") == [trainer.pid]


def test_a_program_starts_by_ending_what_its_previous_life_left(children: list[Child], tmp_path: Path) -> None:
    marks = {strays.MARKER: str(tmp_path), strays.PROGRAM: "trainer"}
    orphan = start(children, SLEEP, **marks)
    command = [sys.executable, "-m", "deploy.native.launch", sys.executable, "-c", "print('new life')"]
    done = subprocess.run(command, env={**os.environ, **marks}, capture_output=True, text=True, timeout=30)
    assert done.stdout == "new life\n", done.stderr
    assert orphan.wait(0) == -signal.SIGTERM


def test_a_polite_request_is_enough_for_most(children: list[Child], tmp_path: Path) -> None:
    child = start(children, SLEEP, **{strays.MARKER: str(tmp_path)})
    strays.end([child.pid])
    assert child.wait(0) == -signal.SIGTERM


def test_who_ignores_the_request_is_killed(children: list[Child], tmp_path: Path) -> None:
    child = start(children, STUBBORN, **{strays.MARKER: str(tmp_path)})
    strays.end([child.pid], polite_s=0.2)
    assert child.wait(0) == -signal.SIGKILL


def test_a_process_that_is_gone_already_is_no_trouble(children: list[Child]) -> None:
    child = start(children, SLEEP)
    child.kill()
    child.wait()
    strays.end([child.pid])
    assert not strays.alive(child.pid)


def test_a_zombie_counts_as_gone(children: list[Child]) -> None:
    child = start(children, SLEEP)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not strays.alive(child.pid)


def test_nginx_is_found_although_it_overwrites_its_environment(children: list[Child], tmp_path: Path) -> None:
    """Its title takes the place of its environment; the files it holds open give it away."""
    bash = shutil.which("bash")
    assert bash is not None
    held = tmp_path / "held"
    held.touch()
    command = [bash, "-c", f"exec -a 'nginx: worker process' {sys.executable} -c \"{SLEEP}\" 3<{held}"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    children.append(child)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    assert strays.find(tmp_path) == [child.pid]
    assert strays.find(tmp_path / "other") == []
