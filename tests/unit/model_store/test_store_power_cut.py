"""A power cut after any system call of a publish, with any of what was not synced lost, leaves old or new."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from model_store import errors, signing
from model_store.volume import Volume
from tests.unit.model_store import power_cut
from tests.unit.model_store.disturbing import Store
from tests.unit.model_store.power_cut import Call, Disk

CHECKOUT = Path(__file__).parents[3]


def store_at(models: Path, keys: Path) -> Store:
    return Store(Volume(models), signing.Signer(keys / "signing.key"), signing.Verifier(keys / "signing.pub"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A volume with one version, and its keys."""
    (tmp_path / "models").mkdir()
    signing.generate_keys(tmp_path / "keys")
    store_at(tmp_path / "models", tmp_path / "keys").publish(job_id="job-1")
    return tmp_path


@pytest.fixture
def calls(home: Path) -> list[Call]:
    """What a second publish does to the volume, which is as before it afterwards."""
    before = home / "before"
    shutil.copytree(home / "models", before)
    command = ["-m", "tests.unit.model_store.publish_once", str(home), "job-2"]
    made = power_cut.record(command, home / "models", CHECKOUT)
    shutil.rmtree(home / "models")
    before.rename(home / "models")
    return made


def cut_everywhere(home: Path, calls: list[Call]) -> int:
    """Check every disk that a cut after any of the calls may leave; how many there were."""
    disk, said, states = Disk(home / "models"), False, 0
    for number, call in enumerate(calls):
        disk.take(call)
        said = said or call.what == "said"
        for state in disk.states():
            states += 1
            models = home / f"state-{number}-{states}"
            power_cut.write(state, models)
            check(store_at(models, home / "keys"), said, f"after {number}: {call.what} {call.path}")
            shutil.rmtree(models)
    return states


def test_a_power_cut_at_any_call_of_a_publish_leaves_old_or_new(home: Path, calls: list[Call]) -> None:
    assert next(call for call in calls if call.what == "said").data == b"published 2"
    assert cut_everywhere(home, calls) > 100


@pytest.mark.parametrize("forgotten", ["model.onnx", "manifest.json", ".tmp/job-2", "models/iris"])
def test_a_publish_that_forgot_a_sync_is_caught(home: Path, calls: list[Call], forgotten: str) -> None:
    def is_forgotten(call: Call) -> bool:
        return call.what == "sync" and (call.path.endswith(forgotten) or Path(call.path).name.startswith("job-2."))

    fewer = [call for call in calls if not is_forgotten(call)]
    assert len(fewer) < len(calls)
    with pytest.raises((AssertionError, errors.StoreError)):
        cut_everywhere(home, fewer)


def check(store: Store, said: bool, when: str) -> None:
    """Every version that can be seen is whole; the one that was answered is there; the next delivery makes it so."""
    visible = store.volume.versions("iris")
    assert visible in ([1], [1, 2]), when
    for version in visible:
        store.read(version=version)
    assert not said or visible == [1, 2], f"{when}: what was answered is gone"
    again = store.publish(job_id="job-2")
    assert again.version == 2, when
    assert store.versions_of("job-2") == [2], when


def test_the_model_of_the_disk_loses_what_was_not_synced(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    disk = Disk(root)
    disk.take(Call("create", f"{root}/a"))
    disk.take(Call("write", f"{root}/a", data=b"x"))
    assert {frozenset(state.items()) for state in disk.states()} == {
        frozenset(),
        frozenset({("a", b"")}),
        frozenset({("a", b"x")}),
    }
    disk.take(Call("sync", f"{root}/a"))
    assert {frozenset(state.items()) for state in disk.states()} == {frozenset(), frozenset({("a", b"x")})}
    disk.take(Call("sync", str(root)))
    assert list(disk.states()) == [{"a": b"x"}]
