"""What becomes of the machine's policy on services when the installation of packages does not end by itself."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rabbit import wait_until
from tests.source_tree import CHECKOUT

TOOLS = ("dirname", "mkdir", "flock", "ls", "grep", "rm", "mv", "chmod", "tail", "sleep")
ITS_OWN = "#!/bin/sh\n# the administrator's\nexit 0\n"


class Machine:
    """A checkout and a machine that lacks every package, whose apt-get sleeps."""

    def __init__(self, home: Path) -> None:
        self.home, self.policy = home, home / "policy-rc.d"
        self.script = home / "checkout" / "deploy" / "bootstrap"
        self.script.parent.mkdir(parents=True)
        text = (CHECKOUT / "deploy" / "bootstrap").read_text()
        for place in ("/usr/sbin/policy-rc.d", "/run/warren-bootstrap.lock"):
            assert text.count(place) == 1
            text = text.replace(place, str(home / Path(place).name))
        self.script.write_text(text)
        (home / "bin").mkdir()
        for tool in TOOLS:
            (home / "bin" / tool).symlink_to(shutil.which(tool) or tool)
        self.program("id", "echo 0")
        self.program("apt-get", "echo asked; exec sleep 60")
        self.running: list[subprocess.Popen[bytes]] = []

    def program(self, name: str, does: str) -> None:
        file = self.home / "bin" / name
        file.write_text(f"#!/bin/sh\n{does}\n")
        file.chmod(0o755)

    def start(self) -> subprocess.Popen[bytes]:
        environment = {"PATH": str(self.home / "bin")}
        with (self.home / "said").open("w") as said:
            started = subprocess.Popen(["/bin/sh", self.script], env=environment, start_new_session=True, stdout=said)
        self.running.append(started)
        return started

    def installing(self) -> subprocess.Popen[bytes]:
        """Started, with apt-get under way and services forbidden."""
        started = self.start()
        self.wait_asked()
        return started

    def wait_asked(self) -> None:
        """Until apt-get is asked once more; services are forbidden then."""
        log = self.home / "checkout" / "var" / "bootstrap-apt.log"
        wait_until(lambda: log.exists() and "asked" in log.read_text(), "apt-get was asked")
        log.unlink()
        assert "exit 101" in self.policy.read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    for one in machine.running:
        if one.poll() is None:
            os.killpg(one.pid, signal.SIGKILL)
            one.wait()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_services_are_allowed_again_when_the_terminal_is_closed_or_the_command_ended(
    machine: Machine, number: signal.Signals
) -> None:
    for before in ("", ITS_OWN):
        if before:
            machine.policy.write_text(before)
            machine.policy.chmod(0o755)
        installing = machine.installing()
        os.killpg(installing.pid, number)
        assert installing.wait(30) == 128 + number
        assert (machine.policy.read_text() if machine.policy.exists() else "") == before


def test_what_a_killed_installation_left_is_put_right_by_the_next_run_though_nothing_is_missing(
    machine: Machine,
) -> None:
    machine.policy.write_text(ITS_OWN)
    machine.policy.chmod(0o755)
    installing = machine.installing()
    os.killpg(installing.pid, signal.SIGKILL)
    installing.wait(30)
    assert "exit 101" in machine.policy.read_text()
    for name in ("nginx", "rabbitmq-server", "setpriv"):
        machine.program(name, "")
    python = machine.home / "checkout" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # It is there, and the script gets no further with it.
    python.symlink_to("/bin/false")
    assert machine.start().wait(30) != 0
    assert machine.policy.read_text() == ITS_OWN
    assert sorted(machine.home.glob("policy*")) == [machine.policy]


def test_another_checkouts_installation_is_waited_for(machine: Machine) -> None:
    installing = machine.installing()
    (machine.home / "checkout" / "var" / ".bootstrap.lock").unlink()
    machine.start()
    said = machine.home / "said"
    wait_until(lambda: "Waiting for another installation" in said.read_text(), "it waits for the lock")
    assert "exit 101" in machine.policy.read_text()
    os.killpg(installing.pid, signal.SIGTERM)
    installing.wait(30)
    machine.wait_asked()
