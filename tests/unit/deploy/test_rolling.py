"""The rolling update's order of commands, on an engine that only writes down what it is asked."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.compose import first_key, roll


def inspected(container: str, health: str) -> object:
    labels = {"com.docker.compose.oneoff": str(container.startswith("by-hand"))}
    state = {"Health": {"Status": health}, "StartedAt": "1970-01-01T00:00:01.123456789Z"}
    return {"Id": container, "Config": {"Labels": labels}, "State": state}


class Engine:
    """Containers by service; a new one becomes what ``fate`` says."""

    def __init__(self, fate: str = "healthy") -> None:
        self.running = {service: [f"{service}-1"] for service in roll.SERVICES}
        self.running["api"] = ["old-1", "old-2", "old-3", "by-hand-1"]
        self.fate = fate
        self.done: list[str] = []

    def __call__(self, command: Sequence[str]) -> str:
        said = " ".join(command)
        if said.startswith("docker compose ps"):
            return "\n".join(self.running[command[-1]])
        if said.startswith("docker inspect"):
            return json.dumps([inspected(container, self.fate) for container in command[2:]])
        if said.startswith("docker compose create"):
            scales = dict(argument.split("=") for argument in command if "=" in argument)
            assert scales == {"predictor": "1", "trainer": "1", "worker": "1", "api": "4", "nginx": "1"}
            self.running["api"].append(f"new-{len(self.done)}")
        if said.startswith(("docker start", "docker stop", "docker rm")):
            self.done.append(f"{command[1]} {command[-1]}")
        if said.startswith("docker rm"):
            for containers in self.running.values():
                containers[:] = [one for one in containers if one != command[-1]]
        return ""


def test_each_old_container_ends_after_a_new_one_is_healthy() -> None:
    engine, said = Engine(), []
    roll.roll("api", engine, said.append)
    assert engine.done == [
        step
        for number, old in enumerate(("old-1", "old-2", "old-3"))
        for step in (f"start new-{3 * number}", f"stop {old}", f"rm {old}")
    ]
    assert engine.running["api"] == ["by-hand-1", "new-0", "new-3", "new-6"]
    assert said[-1] == "api: 3 of 3 replaced"


def test_a_new_container_that_does_not_become_healthy_is_removed_and_the_old_ones_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roll, "_HEALTHY_S", 0.0)
    engine = Engine(fate="unhealthy")
    with pytest.raises(roll.RollError, match="the old ones run"):
        roll.roll("api", engine, lambda _: None)
    assert engine.running["api"] == ["old-1", "old-2", "old-3", "by-hand-1"]


def test_only_what_can_be_rolled_is_rolled(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        roll.main(["secrets"])
    assert "only predictor, trainer, worker, api, nginx, postgres" in capsys.readouterr().err


class Steps(list[str]):
    """What the command does, on a stack whose broker started in the second 1; its definitions are of ``written_s``."""

    written_s: int | None = 1

    def run(self, command: Sequence[str]) -> str:
        if command[2] == "run":
            self.append(" ".join(command))
            return "" if self.written_s is None else f"definitions.json {self.written_s}\n"
        if "inspect" in command:
            return json.dumps([inspected(container, "healthy") for container in command[2:]])
        return "rabbitmq-1"


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()
    monkeypatch.setattr(roll, "run_command", steps.run)
    monkeypatch.setattr(roll, "roll", lambda service, *_: steps.append(f"roll {service}"))
    monkeypatch.setattr(roll, "replace", lambda service, *_: steps.append(f"replace {service}"))
    return steps


SECRETS = "docker compose run --rm -T secrets"


def test_what_may_not_run_twice_is_replaced_only_when_it_is_named(steps: Steps) -> None:
    assert roll.main([]) == 0
    assert steps == [SECRETS, *(f"roll {service}" for service in roll.SERVICES)]
    assert not {*roll.SERVICES} & {*roll.ALONE}
    steps.clear()
    assert roll.main(["postgres", "api", "rabbitmq"]) == 0
    assert steps == [SECRETS, "replace rabbitmq", "replace postgres", "roll api"]


def test_what_needs_a_queue_that_the_broker_has_not_read_of_waits_for_a_new_broker(
    steps: Steps, capsys: pytest.CaptureFixture[str]
) -> None:
    steps.written_s = 2
    assert roll.main(["predictor", "worker"]) == 1
    assert steps == [SECRETS]
    assert "deploy.compose.roll rabbitmq predictor worker`" in capsys.readouterr().err
    steps.clear()
    assert roll.main(["predictor", "rabbitmq"]) == 0
    assert steps == [SECRETS, "replace rabbitmq", "roll predictor"]
    steps.clear()
    assert roll.main(["nginx"]) == 0, "it asks the broker nothing"
    assert steps == [SECRETS, "roll nginx"]
    steps.written_s = None
    assert roll.main(["worker"]) == 0, "images of before this was said"


def test_an_only_container_is_replaced_and_its_failure_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[str] = []
    status = "healthy"

    def run(command: Sequence[str]) -> str:
        commands.append(" ".join(command))
        if "inspect" in command:
            return json.dumps([inspected(container, status) for container in command[2:]])
        return "the-new-one" if "ps" in command else ""

    said: list[str] = []
    roll.replace("postgres", run, said.append)
    assert commands[0] == "docker compose create --force-recreate postgres"
    assert "docker start the-new-one" in commands
    assert "postgres: replaced" in said[0]
    monkeypatch.setattr(roll, "_HEALTHY_S", 0.0)
    status = "unhealthy"
    with pytest.raises(roll.RollError, match="docker compose logs postgres"):
        roll.replace("postgres", run, said.append)
    assert not [command for command in commands if command.startswith("docker rm")], "it is the only one"


def test_what_the_engine_refuses_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(roll.RollError, match="no such thing"):
        roll.run_command(["sh", "-c", "echo no such thing >&2; exit 1"])

    def refuse(_command: Sequence[str]) -> str:
        raise roll.RollError("no engine")

    monkeypatch.setattr(roll, "run_command", refuse)
    assert roll.main(["api"]) == 1
    assert "no engine" in capsys.readouterr().err


def test_the_first_key_is_made_once_and_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "first.key"
    monkeypatch.setattr(first_key, "FILE", file)
    monkeypatch.setattr(first_key, "CREATE", ("sh", "-c", "echo wk_made_now"))
    assert first_key.main("make") == 0
    monkeypatch.setattr(first_key, "CREATE", ("sh", "-c", "echo 'the ledger is away' >&2; exit 1"))
    assert first_key.main("make") == 0, "it is there already"
    assert first_key.main("show") == 0
    assert capsys.readouterr().out == "wk_made_now\n"
    assert first_key.main("show") == 1
    assert "Make another one" in capsys.readouterr().err
    file.unlink()
    assert first_key.main("make") == 1
    assert "the ledger is away" in capsys.readouterr().err
