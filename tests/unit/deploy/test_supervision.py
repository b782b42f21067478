"""A real supervisor over programs of a few lines: what changes, what stops, and what failed."""

import contextlib
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy import secret_files
from deploy.native import __main__, commands, readiness, strays, supervision, supervisor_config
from deploy.native.layout import CHECKOUT, DeploymentError, Layout
from deploy.native.programs import Program, base_environment
from deploy.native.supervision import ProcessState, Supervisor, SupervisorAway
from tests.rabbit import wait_until

SLOW = "trap 'sleep 1.5; exit' TERM; while :; do sleep 0.1; done"
"""Takes its time to stop."""
FRONT = """
import http.server, pathlib, signal, sys
signal.signal(signal.SIGHUP, lambda *_: pathlib.Path(sys.argv[2]).touch())
class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answering).serve_forever()
"""
"""Answers 200 in Nginx's place, and leaves a file when it is told to read its configuration."""


@pytest.fixture
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    # A short path, because there is a socket in it.
    home = tmp_path_factory.mktemp("s")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    layout = Layout.from_environment({"WARREN_HOME": str(home), "WARREN_PORT": str(port)})
    layout.create()
    yield layout
    with contextlib.suppress(SupervisorAway):
        Supervisor(layout).stop()
    Supervisor(layout).clear()


def shell(name: str, script: str, *, stop_wait_s: int = 30) -> Program:
    return Program(name, name, 1, ("sh", "-c", script), {"PYTHONPATH": str(CHECKOUT)}, stop_wait_s)


def front(layout: Layout, told: Path) -> Program:
    """What can start as long as its script is there."""
    script = told.with_name("front.py")
    script.write_text(FRONT)
    command = (sys.executable, "-S", "-I", str(script), str(layout.port), str(told))
    return Program("nginx", "nginx", 2, command, {}, 10, ready_url=layout.url)


def configure(layout: Layout, *programs: Program) -> None:
    secret_files.write(layout.supervisor_config, supervisor_config.render(layout, programs))


def held(go: Path) -> str:
    """Says when it can be told to stop, and does so only once ``go`` is there."""
    return f"trap 'until [ -e {go} ]; do sleep 0.1; done; exit' TERM; echo trapped; while :; do sleep 0.1; done"


def start(layout: Layout, *programs: Program) -> Supervisor:
    configure(layout, *programs)
    supervisor = Supervisor(layout)
    supervisor.start({**base_environment(layout, os.environ), "PYTHONPATH": str(CHECKOUT)})
    wait_until(lambda: all(one.state == "RUNNING" for one in supervisor.processes()), "all of it runs", 20)
    return supervisor


def start_held(layout: Layout, go: Path) -> Supervisor:
    supervisor = start(layout, shell("slow", held(go)))
    # A second after its spawn it counts as running, with a trap or without.
    wait_until(lambda: "trapped" in (layout.logs / "slow.log").read_text(), "it can be told to stop")
    return supervisor


def test_a_program_of_another_checkout_starts_in_it(layout: Layout, tmp_path: Path) -> None:
    stood = tmp_path / "stood"
    programs = [shell("one", f"pwd > {shlex.quote(str(stood))}; exec sleep 600")]
    supervisor = start(layout, *programs)
    wait_until(lambda: stood.exists() and Path(stood.read_text().strip()) == CHECKOUT, "it stands in this one", 20)
    upgraded = tmp_path / "upgraded"
    upgraded.mkdir()
    configure(replace(layout, checkout=upgraded), *programs)
    stood.unlink()
    assert supervisor.update(lambda _: None, lambda: None) == ["one"]
    wait_until(lambda: stood.exists() and Path(stood.read_text().strip()) == upgraded, "it stands in the new one", 20)


def test_an_update_waits_for_what_takes_its_time_to_stop(layout: Layout) -> None:
    supervisor = start(layout, shell("slow", SLOW), shell("gone", SLOW), shell("quick", "exec sleep 600"))
    configure(layout, shell("slow", f"true; {SLOW}"), shell("quick", "exec sleep 600"))
    assert supervisor.update(lambda _: None, lambda: None) == ["slow", "gone"]
    wait_until(lambda: all(one.state == "RUNNING" for one in supervisor.processes()), "all of it runs", 20)


def test_a_program_may_take_its_time_to_stop(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = start(layout, shell("slow", SLOW, stop_wait_s=400), shell("quick", "exec sleep 600", stop_wait_s=30))
    allowed_s: list[float] = []
    wait_gone = strays.wait_gone

    def watched(pids: set[int], wait_s: float) -> set[int]:
        allowed_s.append(wait_s)
        return wait_gone(pids, wait_s)

    monkeypatch.setattr(strays, "wait_gone", watched)
    monkeypatch.setattr(supervision, "_STOP_MARGIN_S", 0.0)
    supervisor.stop()
    assert allowed_s == [430], "one after another"
    assert not supervisor.running()
    assert supervisor.clear() == 0, "nothing had to be killed"


@pytest.mark.parametrize("before", ["", "true; "], ids=["as it was", "changed"])
def test_an_update_that_was_interrupted_is_finished_by_the_next_one(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    go = layout.home / "go"
    supervisor = start_held(layout, go)
    configure(layout, shell("slow", before + held(go)))
    with pytest.raises(SupervisorAway):
        supervisor._call("stopProcessGroup", "slow", timeout_s=0.3)
    wait_until(lambda: [one.state for one in supervisor.processes()] == ["STOPPING"], "it is stopping")
    look = supervisor._state

    def looked(name: str) -> str:
        state = look(name)
        go.touch()
        return state

    monkeypatch.setattr(supervisor, "_state", looked)
    assert supervisor.update(lambda _: None, lambda: None) == ["slow"]
    wait_until(lambda: [one.state for one in supervisor.processes()] == ["RUNNING"], "it runs again", 20)


def test_what_an_update_that_failed_left_behind_is_removed_by_the_next_one(layout: Layout) -> None:
    supervisor = start(layout, shell("slow", "exec sleep 600"), shell("gone", "exec sleep 600"))

    def fail() -> None:
        raise DeploymentError("not ready")

    configure(layout, shell("slow", "exec sleep 600"))
    with pytest.raises(DeploymentError, match="not ready"):
        supervisor.update(lambda _: None, fail)
    assert supervisor.update(lambda _: None, lambda: None) == ["gone"]
    assert [one.name for one in supervisor.processes()] == ["slow"]


def test_a_stop_that_was_interrupted_is_finished_by_the_next_one(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = layout.home / "go"
    start_held(layout, go)._call("shutdown")
    with pytest.raises(DeploymentError, match="is stopping: run `make up` again"):
        commands.up(layout, {}, print)
    wait_gone = strays.wait_gone

    def waited(pids: set[int], wait_s: float) -> set[int]:
        go.touch()
        return wait_gone(pids, wait_s)

    monkeypatch.setattr(strays, "wait_gone", waited)
    said: list[str] = []
    assert commands.down(layout, said.append) == "Stopped."
    assert not said, "nothing had to be killed"
    assert strays.find(layout.home) == []


def test_a_supervisor_that_does_not_answer_is_said_in_a_sentence(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def up(*_: object) -> str:
        raise SupervisorAway("timed out")

    monkeypatch.setattr(commands, "up", up)
    monkeypatch.setenv("WARREN_HOME", str(layout.home))
    assert __main__.main(["up"]) == 1
    assert "does not answer (timed out)" in capsys.readouterr().err


def test_nginx_is_told_of_what_an_update_that_failed_has_written(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    wanted = [front(layout, told)]
    monkeypatch.setattr(commands, "programs", lambda *_: wanted)
    commands.up(layout, {}, print)
    limited = replace(layout, address_rate=50)
    wanted.append(shell("new", "exec sleep 600"))

    def fail(*_: object) -> None:
        raise DeploymentError("not ready")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(readiness, "wait", fail)
        with pytest.raises(DeploymentError, match="not ready"):
            commands.up(limited, {}, print)
    assert not told.exists()
    commands.up(limited, {}, print)
    wait_until(told.exists, "Nginx is told", 10)
    assert not layout.nginx_unread.exists(), "once"


class Told(Supervisor):
    """Programs in given states, which stop at once, and what is asked of them."""

    def __init__(self, layout: Layout, **states: str) -> None:
        super().__init__(layout)
        self.asked: list[tuple[Any, ...]] = []
        self._states = states

    def processes(self) -> list[ProcessState]:
        return [ProcessState(name, name, state, 1, 0, "") for name, state in self._states.items()]

    def _call(self, method: str, *args: Any, timeout_s: float = 0.0) -> Any:
        self.asked.append((method, *args))
        if method == "stopProcessGroup":
            self._states[args[0]] = "STOPPED"
        return [[[], [], []]] if method == "reloadConfig" else None


@pytest.mark.parametrize("state", ["STOPPED", "STOPPING", "EXITED", "FATAL", "BACKOFF"])
def test_what_does_not_run_is_begun_again_without_its_pause(layout: Layout, state: str) -> None:
    supervisor = Told(layout, broker="RUNNING", nginx=state, worker="STARTING")
    assert supervisor.update(lambda _: None, lambda: None) == ["nginx"]
    begun = [("stopProcessGroup", "nginx", False), ("startProcess", "nginx:nginx", False)]
    assert supervisor.asked == [("reloadConfig",), *begun]


@pytest.mark.parametrize("rate", [0, 50], ids=["as it was", "with another configuration"])
@pytest.mark.parametrize("programs", ["as they were", "changed"])
def test_what_was_mended_is_tried_at_once(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, programs: str
) -> None:
    wanted = [shell("before", "exec sleep 600"), front(layout, tmp_path / "told")]
    monkeypatch.setattr(commands, "programs", lambda *_: wanted)
    script = tmp_path / "front.py"
    script.rename(tmp_path / "away.py")
    with monkeypatch.context() as hasty:
        hasty.setattr(readiness, "_HOPELESS_S", 0.0)
        with pytest.raises(DeploymentError, match="Not ready: nginx"):
            commands.up(layout, {}, print)
    (tmp_path / "away.py").rename(script)
    if programs == "changed":
        wanted[:] = [replace(one, environment={**one.environment, "CHANGED": "1"}) for one in wanted]
    said = commands.up(replace(layout, address_rate=rate), {}, print)
    # As they were, the supervisor may have tried again by itself before the update asked it to.
    assert said.startswith("Warren is running, with what changed" if programs == "changed" else "Warren is ")
