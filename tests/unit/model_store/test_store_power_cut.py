"""A power cut after any system call of a publish, with any of what was not synced lost, leaves old or new."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from model_store import errors, job_index, signing
from model_store.volume import Volume
from tests.unit.model_store import power_cut
from tests.unit.model_store.disturbing import Store
from tests.unit.model_store.power_cut import Call, Disk

CHECKOUT = Path(__file__).parents[3]


def store_at(models: Path, keys: Path) -> Store:
    return Store(Volume(models), signing.Signer(keys / "signing.key"), signing.Verifier(keys / "signing.pub"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A volume with one version, and its keys.

    A cancelled job's entry has no version: counting entries cannot tell that the next version has none.
    """
    (tmp_path / "models").mkdir()
    signing.generate_keys(tmp_path / "keys")
    store = store_at(tmp_path / "models", tmp_path / "keys")
    store.publish(job_id="job-1")
    job_index.claim(store.volume, "iris", "job-0", job_index.TOMBSTONE)
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
    """Check every disk that a cut after any of the calls may leave, the latest first; how many there were."""
    cuts = cuts_of(home, calls)
    for number, (when, said, state) in enumerate(reversed(cuts)):
        models = home / f"state-{number}"
        power_cut.write(state, models)
        try:
            check(store_at(models, home / "keys"), said, when)
        finally:
            shutil.rmtree(models)
    return len(cuts)


def cuts_of(home: Path, calls: list[Call]) -> list[tuple[str, bool, dict[str, bytes | None]]]:
    """After which call, whether the publisher has answered, and the disk."""
    disk, said = Disk(home / "models"), False
    cuts = {}
    for number, call in enumerate(calls):
        disk.take(call)
        said = said or call.what == "said"
        for state in disk.states():
            cuts[frozenset(state.items()), said] = f"after {number}: {call.what} {call.path}", said, state
    return list(cuts.values())


def test_a_power_cut_at_any_call_of_a_publish_leaves_old_or_new(home: Path, calls: list[Call]) -> None:
    assert next(call for call in calls if call.what == "said").data == b"published 2"
    assert cut_everywhere(home, calls) > 80


def test_a_publish_that_forgot_any_sync_is_caught(home: Path, calls: list[Call]) -> None:
    """Each alone; all but the mark's own are needed: that file is empty, and what must last is its name."""
    syncs = [number for number, call in enumerate(calls) if call.what == "sync"]
    missed = [calls[number].path for number in syncs if not is_caught(home, calls[:number] + calls[number + 1 :])]
    assert missed == [f"{home}/models/iris/by-job/job-2.publishing"]
    assert len(syncs) == 11


def is_caught(home: Path, calls: list[Call]) -> bool:
    try:
        cut_everywhere(home, calls)
    except (AssertionError, errors.StoreError):
        return True
    return False


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
