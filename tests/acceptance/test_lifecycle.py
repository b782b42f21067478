"""Starting, changing, losing and stopping a stack: what ``make up`` and ``make down`` promise."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from deploy.native import commands, strays
from deploy.native.__main__ import main
from deploy.native.layout import DeploymentError, Layout
from tests.acceptance.stack import Client, Stack
from tests.rabbit import wait_until
from tests.source_tree import CHECKOUT


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """A stack that these tests may break; each test leaves it running and ready."""
    stack = Stack.fresh()
    try:
        stack.up()
        yield stack
    finally:
        stack.remove()


def test_up_says_where_it_is_and_what_to_try(own: Stack) -> None:
    said = own.up()
    assert "already running" in said
    assert own.url in said
    assert said.count("curl ") == 3


def test_up_on_a_running_stack_changes_nothing(own: Stack) -> None:
    before = {name: one.pid for name, one in own.processes().items()}
    own.up()
    assert {name: one.pid for name, one in own.processes().items()} == before


def test_a_changed_setting_restarts_who_reads_it_and_nobody_else(own: Stack) -> None:
    before = {name: one.pid for name, one in own.processes().items()}
    own.environment["WARREN_TRAIN__ATTEMPTS"] = "2"
    assert "restarted" in own.up()
    after = {name: one.pid for name, one in own.processes().items()}
    same = {name for name in before if before[name] == after[name]}
    assert same == {"nginx", "broker", "epmd"}
    assert own.ready()


def test_more_and_fewer_replicas_and_predictors_while_it_is_asked(own: Stack) -> None:
    """Nginx learns of them without being stopped, and no request of a client that keeps asking fails."""
    answers: Counter[object] = Counter()
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            try:
                answers[httpx.get(f"{own.url}/models", timeout=20, trust_env=False).status_code] += 1
            except httpx.HTTPError as error:
                answers[type(error).__name__] += 1

    asking = threading.Thread(target=ask)
    nginx = own.processes()["nginx"].pid
    asking.start()
    try:
        for replicas, predictors in ((4, 3), (1, 1), (2, 2)):
            counts = {"WARREN_REPLICAS": str(replicas), "WARREN_PREDICTORS": str(predictors)}
            layout = Layout.from_environment({**own.environment, **counts})
            commands.up(layout, {**own.environment, **counts}, own.said.append)
            running = [name.partition("-")[0] for name in own.processes()]
            assert (running.count("api"), running.count("predictor")) == (replicas, predictors)
            assert commands.status(own.layout)[0].count("\napi-") == replicas
    finally:
        ended.set()
        asking.join(30)
    assert own.processes()["nginx"].pid == nginx
    assert {*answers} == {200}, answers


def test_status_lists_every_process_with_its_ports(own: Stack) -> None:
    table, good = commands.status(own.layout)
    assert good
    for name, one in own.processes().items():
        assert any(line.startswith(name) and str(one.pid) in line for line in table.splitlines()), name
    assert f"metrics {own.block.metrics('trainer')}" in table
    assert f"http {own.layout.port}" in table


def test_every_port_is_on_loopback_only(own: Stack) -> None:
    addresses = listening_addresses(own)
    assert len(addresses) >= 9
    assert {*addresses.values()} <= {"127.0.0.1", "::1"}


def test_logs_are_one_file_per_process(own: Stack) -> None:
    names = {path.stem for path in commands.log_files(own.layout, "")}
    assert own.processes().keys() <= names
    assert [path.stem for path in commands.log_files(own.layout, "trainer")] == ["trainer"]
    with pytest.raises(DeploymentError, match="predictor-1"):
        commands.log_files(own.layout, "nobody")


def test_the_broker_has_only_our_users_and_each_only_its_rights(own: Stack) -> None:
    users = commands.ask_broker(own.layout, ["list_users", "--no-table-headers"]).split()
    assert {word for word in users if not word.startswith("[")} == {"api", "worker", "trainer", "predictor"}


@pytest.mark.parametrize("command", [["dead-letters", "list"], ["rabbitmqctl", "list_vhosts"], ["status"]])
def test_a_running_stack_can_be_asked_from_the_command_line(own: Stack, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.native", *command],
        env={**os.environ, **own.environment},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_models_and_jobs_outlive_a_supervisor_that_was_killed(own: Stack) -> None:
    with Client(own.url) as client:
        job_id = client.train(model="kept", dataset={"sample": "iris"}, target="target", estimator="GaussianNB")
        assert client.finished(job_id)["status"] == "succeeded"
    os.kill(int(own.layout.supervisor_pid.read_text()), signal.SIGKILL)
    wait_until(lambda: "left behind" in commands.status(own.layout)[0], "the supervisor is gone")
    old = own.left()
    assert len(old) >= 9
    own.said.clear()
    own.up()
    assert any("left behind" in line for line in own.said)
    assert not any(strays.alive(pid) for pid in old)
    with Client(own.url) as client:
        assert client.job(job_id)["status"] == "succeeded"
        assert client.predict(model="kept", instances=[[5.1, 3.5, 1.4, 0.2]])["version"] == 1


def test_no_worker_outlives_a_killed_nginx(own: Stack) -> None:
    """A worker of a killed master keeps the port and shows neither its home's name nor its environment."""
    master = own.processes()["nginx"].pid
    old = strays.listeners(own.layout.port)
    os.kill(master, signal.SIGKILL)
    wait_until(lambda: not any(map(strays.alive, old)), "the old workers are gone", 30)
    wait_until(own.ready, "the stack is ready", 30)


def test_down_leaves_no_process_and_no_port_and_may_be_called_twice(own: Stack) -> None:
    pids = [one.pid for one in own.processes().values()]
    assert own.down() == "Stopped."
    assert own.left() == []
    assert not any(strays.alive(pid) for pid in pids)
    assert own.ports_in_use() == []
    assert own.down() == "Nothing is running."
    assert commands.status(own.layout)[1] is False


def test_down_clears_what_a_killed_supervisor_left(own: Stack) -> None:
    own.up()
    os.kill(int(own.layout.supervisor_pid.read_text()), signal.SIGKILL)
    wait_until(lambda: "left behind" in commands.status(own.layout)[0], "the supervisor is gone")
    own.down()
    assert own.left() == []
    assert own.ports_in_use() == []


def test_a_port_in_use_is_named_with_who_uses_it(
    own: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", own.layout.port)):
        monkeypatch.setenv("WARREN_HOME", str(own.layout.home))
        monkeypatch.setenv("WARREN_PORT", str(own.layout.port))
        assert main(["up"]) == 1
    said = capsys.readouterr().err
    assert f"Port {own.layout.port} is in use by" in said
    assert f"(pid {os.getpid()})" in said


def listening_addresses(stack: Stack) -> dict[int, str]:
    """Port to local address of everything that the stack listens on."""
    wanted = {stack.layout.port, *stack.block.all()}
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:  # noqa: PTH123 - /proc
            for line in list(lines)[1:]:
                fields = line.split()
                host, _, port = fields[1].rpartition(":")
                if fields[3] == "0A" and int(port, 16) in wanted:
                    found[int(port, 16)] = address(host)
    return found


def address(digits: str) -> str:
    words = [bytes.fromhex(digits[start : start + 8])[::-1] for start in range(0, len(digits), 8)]
    raw = b"".join(words)
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
