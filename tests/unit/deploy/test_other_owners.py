"""A stack that another user has made is left as it is."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.native import commands, strays
from deploy.native.layout import DeploymentError, Layout
from deploy.native.supervision import Supervisor

STRANGER = 65_534


def owners(home: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_uid, path.stat().st_mtime_ns) for path in (home, *home.rglob("*"))}


def another_users(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root gives a home away; another user becomes a stranger to it."""
    if os.geteuid() != 0:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
        return
    for path in (home, *home.rglob("*")):
        os.chown(path, STRANGER, STRANGER)


@pytest.mark.parametrize(
    "command",
    [
        lambda layout: commands.up(layout, {}, print),
        lambda layout: commands.down(layout, print),
        lambda layout: commands.key(layout, {}, []),
    ],
    ids=["up", "down", "key"],
)
def test_another_users_stack_is_refused_and_nothing_of_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[[Layout], object]
) -> None:
    # With its port taken nothing would be started, whatever happens.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        layout = Layout.from_environment({"WARREN_HOME": str(tmp_path / "home"), "WARREN_PORT": port})
        layout.create()
        layout.datasets.rmdir()
        another_users(layout.home, monkeypatch)
        before = owners(layout.home)
        with pytest.raises(DeploymentError, match=rf"stack in {layout.home} is \w+'s, and you are .*WARREN_HOME"):
            command(layout)
    assert owners(layout.home) == before


def test_a_folder_of_another_user_that_holds_no_stack_may_take_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_users(tmp_path, monkeypatch)
    layout = Layout.from_environment({"WARREN_HOME": str(tmp_path)})
    layout.refuse_others()
    assert commands.down(layout, print) == "Nothing is running."


@pytest.mark.parametrize(("of_supervisor", "of_folder"), [(0, STRANGER), (STRANGER, 0)])
def test_a_stack_is_its_supervisors_whoever_made_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_supervisor: int, of_folder: int
) -> None:
    layout = Layout.from_environment({"WARREN_HOME": str(tmp_path)})
    owners = {layout.supervisor_pid: of_supervisor, layout.run: of_folder}
    monkeypatch.setattr(Path, "stat", lambda path: SimpleNamespace(st_uid=owners[path]))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    if of_supervisor == 0:
        layout.refuse_others()
    else:
        with pytest.raises(DeploymentError, match=f"chown -R root {tmp_path}"):
            layout.refuse_others()


def test_processes_of_another_user_are_left_with_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout.from_environment({"WARREN_HOME": str(tmp_path)})
    layout.create()
    layout.supervisor_pid.touch()

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(strays, "find", lambda _: [4_711])
    monkeypatch.setattr(os, "kill", refuse)
    with pytest.raises(DeploymentError, match=r"Another user started this stack \(pids 4711\)"):
        Supervisor(layout).clear()
    assert layout.supervisor_pid.exists()
