"""A real supervisor over programs of a few lines: what changes, what stops, and what failed."""

import os
import shlex
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import secret_files
from deploy.native import supervisor_config
from deploy.native.layout import CHECKOUT, Layout
from deploy.native.programs import Program, base_environment
from deploy.native.supervision import Supervisor
from tests.rabbit import wait_until


@pytest.fixture
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    # A short path, because there is a socket in it.
    home = tmp_path_factory.mktemp("s")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    layout = Layout.from_environment({"WARREN_HOME": str(home), "WARREN_PORT": str(port)})
    layout.create()
    yield layout
    Supervisor(layout).clear()


def shell(name: str, script: str, *, stop_wait_s: int = 30) -> Program:
    return Program(name, name, 1, ("sh", "-c", script), {"PYTHONPATH": str(CHECKOUT)}, stop_wait_s)


def configure(layout: Layout, *programs: Program) -> None:
    secret_files.write(layout.supervisor_config, supervisor_config.render(layout, programs))


def start(layout: Layout, *programs: Program) -> Supervisor:
    configure(layout, *programs)
    supervisor = Supervisor(layout)
    supervisor.start({**base_environment(layout, os.environ), "PYTHONPATH": str(CHECKOUT)})
    wait_until(lambda: all(one.state == "RUNNING" for one in supervisor.processes()), "all of it runs", 20)
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
