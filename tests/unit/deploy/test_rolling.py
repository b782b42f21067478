"""The rolling update's order of commands, on an engine that only writes down what it is asked."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.compose import first_key, roll


class Engine:
    """Containers by service; a new one becomes what ``fate`` says."""

    def __init__(self, fate: str = "healthy") -> None:
        self.running = {"api": ["old-1", "old-2", "old-3"], "worker": ["old-4"]}
        self.fate = fate
        self.done: list[str] = []

    def __call__(self, command: Sequence[str]) -> str:
        said = " ".join(command)
        if said.startswith("docker compose ps"):
            return "\n".join(self.running[command[-1]])
        if said.startswith("docker inspect"):
            return json.dumps([{"State": {"Health": {"Status": self.fate}}}])
        if said.startswith("docker compose up"):
            self.running[command[-1]].append(f"new-{len(self.done)}")
            assert command[-2] == f"{command[-1]}={len(self.running[command[-1]])}"
            self.done.append("up")
        if said.startswith(("docker stop", "docker rm")):
            self.done.append(f"{command[1]} {command[-1]}")
        if said.startswith("docker rm"):
            for containers in self.running.values():
                containers[:] = [one for one in containers if one != command[-1]]
        return ""


def test_each_old_container_ends_after_a_new_one_is_healthy() -> None:
    engine, said = Engine(), []
    roll.roll("api", engine, said.append)
    assert engine.done == [step for old in ("old-1", "old-2", "old-3") for step in ("up", f"stop {old}", f"rm {old}")]
    assert len(engine.running["api"]) == 3
    assert said[-1] == "api: 3 of 3 replaced"


def test_a_new_container_that_does_not_become_healthy_is_removed_and_the_old_ones_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roll, "_HEALTHY_S", 0.0)
    engine = Engine(fate="unhealthy")
    with pytest.raises(roll.RollError, match="the old ones run"):
        roll.roll("api", engine, lambda _: None)
    assert engine.running["api"] == ["old-1", "old-2", "old-3"]


def test_only_what_can_be_rolled_is_rolled(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        roll.main(["postgres"])
    assert "only predictor, trainer, worker, api can be rolled" in capsys.readouterr().err


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
