"""What workers do beside following: describe, sweep, repeat, publish; and the dead letters' command."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.datasets.files import DatasetFolder
from api.jobs import consumer, dead_letters
from api.jobs.celery_app import job_message, make_app
from api.jobs.enqueueing import Enqueuer
from api.jobs.repeating import Repeating
from api.jobs.sweeping import Describer, Sweeper
from api.ledger import Ledger
from api.offline.folder import OutputFolder
from tests.integration.jobs.trainer_double import TrainerDouble
from tests.jobs import new_dataset, new_job
from tests.rabbit import wait_until
from wire import errors, messages, settings, topology
from wire.client import RpcClient
from wire.memory import MemoryBroker
from wire.retention import Retention


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(settings.Broker(reconnect_max_s=0.1))


@pytest.fixture
def trainer(broker: MemoryBroker) -> Iterator[TrainerDouble]:
    double = TrainerDouble(broker.settings, server=broker.server("trainer", "trainer")).start()
    yield double
    double.stop()


def placed(ledger: Ledger, **changed: Any) -> str:
    return ledger.datasets.place(new_dataset(**changed), owner="ann", put=lambda: None).dataset_id


def test_missing_descriptions_are_made_until_none_is_left(lite: Ledger, rpc: RpcClient, trainer: TrainerDouble) -> None:
    ids = [placed(lite) for _ in range(2)]
    describer = Describer(lite, rpc)
    assert [describer.describe_next() for _ in range(3)] == [True, True, False]
    assert all(lite.datasets.find(one, owner=None).columns() is not None for one in ids)


def test_nobody_is_asked_while_no_trainer_is_there(lite: Ledger, rpc: RpcClient) -> None:
    placed(lite)
    with pytest.raises(errors.Unroutable):
        Describer(lite, rpc).describe_next()


def test_dataset_that_cannot_be_read_is_marked_and_not_asked_again(
    lite: Ledger, rpc: RpcClient, trainer: TrainerDouble
) -> None:
    def refuse(_: str) -> messages.DatasetProfile:
        raise errors.BadInput("Line 3 is longer than the header.")

    trainer.profile = refuse
    dataset_id = placed(lite)
    describer = Describer(lite, rpc)
    assert [describer.describe_next() for _ in range(2)] == [True, False]
    assert lite.datasets.find(dataset_id, owner=None).error_message == "Line 3 is longer than the header."


def test_dataset_that_takes_too_long_lets_others_pass_and_is_given_up(
    lite: Ledger, rpc: RpcClient, trainer: TrainerDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.jobs.sweeping.INSPECT_S", 1.0)
    given_up = threading.Event()
    slow, quick = placed(lite, created_ms=1), placed(lite, created_ms=2)
    real = trainer.profile

    def inspect(dataset_id: str) -> messages.DatasetProfile:
        if dataset_id == slow:
            given_up.wait(20)
        return real(dataset_id)

    trainer.profile = inspect
    describer = Describer(lite, rpc)

    def none_left() -> bool:
        given_up.clear()
        describer.describe_next()
        given_up.set()
        return lite.datasets.unprofiled(9) == []

    wait_until(none_left, "none is left to describe")
    assert lite.datasets.find(quick, owner=None).columns() is not None
    assert lite.datasets.find(slow, owner=None).error_code == "deadline_exceeded"


def test_inspection_that_a_stop_cut_off_is_made_again(lite: Ledger, rpc: RpcClient, trainer: TrainerDouble) -> None:
    real = trainer.profile

    def stop(_: str) -> messages.DatasetProfile:
        trainer.profile = real
        raise errors.InternalError("The inspection was not done in time.")

    trainer.profile = stop
    dataset_id = placed(lite)
    describer = Describer(lite, rpc)
    assert [describer.describe_next() for _ in range(3)] == [False, True, False]
    found = lite.datasets.find(dataset_id, owner=None)
    assert (found.error_code, found.columns() is not None) == (None, True)


@pytest.mark.parametrize(
    ("error", "condemned"),
    [(errors.InternalError(), True), (errors.DatasetNotFound(), False), (errors.StorageFull(), False)],
    ids=lambda value: getattr(value, "code", ""),
)
def test_only_what_may_be_the_tables_own_fault_is_given_up(
    lite: Ledger, rpc: RpcClient, trainer: TrainerDouble, error: errors.Answered, condemned: bool
) -> None:
    def refuse(_: str) -> messages.DatasetProfile:
        raise error

    trainer.profile = refuse
    dataset_id = placed(lite)
    describer = Describer(lite, rpc)
    assert [describer.describe_next() for _ in range(4)] == [False, False, condemned, False]
    assert lite.datasets.find(dataset_id, owner=None).error_code == (error.code if condemned else None)


def test_sweep_removes_what_nobody_owns_and_keeps_the_rest(lite: Ledger, tmp_path: Path) -> None:
    folder = DatasetFolder(tmp_path / "datasets")
    now = int(time.time() * 1000)
    used, old, orphan = (format(number, "032x") for number in range(3))
    placed(lite, dataset_id=used, used_ms=now)
    placed(lite, dataset_id=old)
    for dataset_id in (used, old, orphan):
        (folder.root / dataset_id).mkdir(parents=True)
    forgotten, fresh = folder.draft(), folder.draft()
    for draft in (forgotten, fresh):
        draft.touch()
    os.utime(forgotten, (1, 1))
    job = lite.jobs.accept(new_job(), queued_limit=9)
    lite.jobs.request_cancel(job.job_id, owner=None)
    sweeper = Sweeper(lite, folder, OutputFolder(tmp_path / "outputs"), Retention(jobs_days=1e-9))
    wait_until(lambda: (sweeper.sweep(), job.job_id not in _jobs(lite))[1], "the job is forgotten")
    assert folder.ids() == [used]
    assert (forgotten.exists(), fresh.exists()) == (False, True)


def _jobs(ledger: Ledger) -> list[str]:
    return [job.job_id for job in ledger.jobs.page(owner=None, model=None, status=None, before=None, limit=9)[0]]


def test_sweep_of_a_folder_that_is_not_there_is_harmless(lite: Ledger, tmp_path: Path) -> None:
    none = tmp_path / "none"
    Sweeper(lite, DatasetFolder(none), OutputFolder(none), Retention()).sweep()


def test_same_content_put_twice_is_one_file(tmp_path: Path) -> None:
    folder = DatasetFolder(tmp_path)
    for _ in range(2):
        draft = folder.draft()
        draft.write_bytes(b"a\n")
        folder.put(draft, "0" * 32, "csv")
        assert not draft.exists()
    assert (tmp_path / ("0" * 32) / "data.csv").read_bytes() == b"a\n"
    folder.remove("0" * 32)
    folder.remove("0" * 32)
    assert folder.ids() == []


@pytest.mark.parametrize("error", [errors.LedgerUnavailable(), ValueError("a defect")], ids=["away", "defect"])
def test_repeated_work_survives_its_failures(error: Exception) -> None:
    turns: list[int] = []

    def work() -> None:
        turns.append(1)
        if len(turns) < 3:
            raise error

    repeating = Repeating("work", 0.001, work)
    before = repeating.done_at
    repeating.start()
    wait_until(lambda: len(turns) > 5, "it goes on")
    repeating.stop(5)
    assert repeating.done_at > before
    assert repeating.idle_s < 5


def test_message_nobody_keeps_leaves_the_job_unconfirmed(lite: Ledger, rpc: RpcClient, broker: MemoryBroker) -> None:
    job = lite.jobs.accept(new_job(), queued_limit=9)
    enqueuer = Enqueuer(make_app(broker.settings), rpc, lite)
    broker.delete_queue(topology.JOBS)
    assert not enqueuer.enqueue(job.job_id, "r")
    assert not lite.jobs.find(job.job_id, owner=None).confirmed
    broker.declare_queue(topology.JOBS)
    assert enqueuer.enqueue(job.job_id, "r")
    assert lite.jobs.find(job.job_id, owner=None).confirmed


def test_job_message_is_celerys_own_and_names_the_request() -> None:
    message = job_message(make_app(settings.Broker()), "0" * 32, "request 1")
    assert message.properties.headers["task"] == "warren.follow"
    assert message.properties.headers["request_id"] == "request 1"
    assert (message.properties.content_type, message.properties.content_encoding) == ("application/json", "utf-8")


def test_brokers_address_is_built_with_the_password_of_its_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("p@ss/word:%\n")
    broker = settings.Broker(host="::1", port=5, vhost="a/b", user="w", password_file=secret)
    with make_app(broker).connection_for_read() as connection:
        known = (connection.hostname, connection.port, connection.virtual_host, connection.userid, connection.password)
    assert known == ("::1", 5, "a/b", "w", "p@ss/word:%")


class Unreadable:
    """A message as Celery's consumer gets it."""

    def __init__(self) -> None:
        self.body = "not json"
        self.delivery_tag = 1
        self.fate = ""

    def ack(self) -> None:
        self.fate = "acknowledged"

    def requeue(self) -> None:
        self.fate = "requeued"


def test_unreadable_message_stays_with_the_broker_until_somebody_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "_PAUSE_S", 0)
    kept: list[bytes] = []

    def refuse(_: bytes, __: str) -> None:
        raise errors.BrokerUnavailable

    for keep, fate in ((refuse, "requeued"), (lambda body, _: kept.append(body), "acknowledged")):
        kind = consumer.make_consumer(keep)
        message = Unreadable()
        kind.on_decode_error(kind.__new__(kind), message, ValueError())
        assert message.fate == fate
    assert kept == [b"not json"]


def test_dead_letters_command_says_that_the_broker_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = settings.Settings(
        broker=settings.Broker(port=1), ledger=settings.Ledger(url=f"sqlite:///{tmp_path}/l.sqlite3")
    )
    monkeypatch.setattr(settings, "load", lambda: config)
    monkeypatch.setattr(dead_letters, "_CONNECT_S", 0.2)
    for arguments in (["list"], ["replay", "--all"]):
        assert dead_letters.main(arguments) == 1
        assert "broker" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["replay"], ["replay", "--all", "0"]])
def test_dead_letters_command_explains_itself(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dead_letters.main(arguments)
    assert "usage" in capsys.readouterr().err
