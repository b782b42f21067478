"""Profiles of datasets through a real broker: from a child with a bound on its memory, beside trainings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.trainer.peers import WAIT_S, Worker, alive
from tests.rabbit import wait_until
from trainer import inspection
from trainer.service import TrainerService
from wire import errors, messages, settings, topology
from wire.deadlines import Deadline

Start = Callable[..., TrainerService]

DATASET = "ab" * 16


@pytest.fixture
def dataset(config: settings.Settings) -> Path:
    folder = config.paths.datasets / DATASET
    folder.mkdir()
    path = folder / "data.csv"
    path.write_text("age,city\n" + "".join(f"{n},town{n % 3}\n" for n in range(30)))
    return path


def inspect(worker: Worker, dataset_id: str = DATASET, wait_s: float = WAIT_S) -> messages.DatasetProfile:
    asked = messages.InspectRequest(dataset_id=dataset_id)
    return worker.rpc.call(topology.INSPECT, asked, messages.DatasetProfile, deadline=Deadline.after(wait_s))


def child(code: str) -> tuple[str, ...]:
    """A command in place of the profiler."""
    return (sys.executable, "-c", code)


def endless(note: Path) -> tuple[str, ...]:
    """One that never ends, and leaves its process id in a file."""
    return child(f"import os, time, pathlib; pathlib.Path({str(note)!r}).write_text(str(os.getpid())); time.sleep(300)")


def test_a_dataset_is_profiled_while_a_training_runs(
    trainer: TrainerService, worker: Worker, dataset: Path, tmp_path: Path
) -> None:
    with worker.training(worker.request(wait_for=str(tmp_path / "go"))) as training:
        training.until("reading")
        profile = inspect(worker)
        (tmp_path / "go").touch()
        training.done()

    assert profile.rows == 30
    assert [(column.name, column.type) for column in profile.columns] == [("age", "number"), ("city", "text")]


def test_a_table_that_cannot_be_used_is_refused_with_a_sentence(
    trainer: TrainerService, worker: Worker, dataset: Path
) -> None:
    dataset.write_bytes(b"age,age\n1,2\n")

    with pytest.raises(errors.BadInput):
        inspect(worker)


@pytest.mark.parametrize("dataset_id", ["cd" * 16, "../../../etc"])
def test_a_dataset_that_is_not_there_is_said(trainer: TrainerService, worker: Worker, dataset_id: str) -> None:
    with pytest.raises(errors.DatasetNotFound):
        inspect(worker, dataset_id)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("raise MemoryError", errors.BadInput),
        ("import os; os.kill(os.getpid(), 9)", errors.InternalError),
        ("print('no profile')", errors.InternalError),
        ("x = bytearray(1 << 40)", errors.BadInput),
    ],
)
def test_an_inspection_that_fails_is_told_apart_by_whose_fault_it_is(
    start_trainer: Start, worker: Worker, dataset: Path, code: str, kind: type[Exception]
) -> None:
    start_trainer(profile_command=child(code))

    with pytest.raises(kind):
        inspect(worker)


def test_an_inspection_ends_with_its_requesters_deadline(
    start_trainer: Start, worker: Worker, dataset: Path, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    start_trainer(profile_command=endless(note))

    # Long enough for the child to begin.
    with pytest.raises((errors.DeadlineExceeded, errors.InternalError)):
        inspect(worker, wait_s=10)

    pid = int(note.read_text())
    wait_until(lambda: not alive(pid), "its child is gone")


def test_an_inspection_ends_with_a_stopping_trainer(
    start_trainer: Start, worker: Worker, dataset: Path, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    service = start_trainer(profile_command=endless(note))
    with worker.rpc.stream(topology.INSPECT, messages.InspectRequest(dataset_id=DATASET)) as stream:
        wait_until(note.exists, "it is being inspected")
        service.stop(0.2)
        assert stream.next(WAIT_S).kind == messages.Failure.TYPE


def test_a_profile_is_the_last_line_of_its_child() -> None:
    assert inspection.PROFILE_COMMAND[1:] == ("-m", "trainer.profile")
