"""Dead letters on a queue of kombu's own broker in memory: what is listed, and what is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery
import msgspec
import pytest
from kombu.transport import memory

from api.jobs import dead_letters
from api.jobs.celery_app import make_app
from api.jobs.dead_letters import DeadLetters
from api.jobs.enqueueing import Enqueuer
from api.ledger import Ledger, rows
from api.ledger.database import now_ms
from api.ledger.leases import Ended
from tests.jobs import new_dataset, new_job, too_large
from tests.rabbit import wait_until
from wire import errors, messages, settings, topology
from wire.client import RpcClient
from wire.memory import MemoryBroker


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[celery.Celery]:
    """Celery on an empty queue of dead letters, to which unacknowledged letters go back."""
    monkeypatch.setattr(memory.Channel, "do_restore", True)
    app = make_app(settings.Broker())
    app.conf.broker_url = "memory://"
    with app.connection_for_write() as connection:
        connection.default_channel.queue_declare(topology.DEAD)
        connection.default_channel.queue_purge(topology.DEAD)
        yield app


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(settings.Broker(confirm_timeout_s=0.2, reconnect_max_s=0.1))


def put(app: celery.Celery, job_id: str, **claimed: Any) -> None:
    """A dead letter that names this job, from anybody who may write to the queue."""
    letter = messages.JobDead(
        job_id=job_id,
        owner=claimed.get("owner", "ann"),
        model=claimed.get("model", "churn"),
        dataset_id=claimed.get("dataset_id"),
        attempts=3,
        error=errors.InternalError("it fell").to_body(),
        request=claimed.get("request", {}),
    )
    with app.connection_for_write() as connection:
        connection.Producer().publish(
            letter.encode(),
            routing_key=topology.DEAD,
            type=letter.TYPE,
            content_type="application/octet-stream",
            content_encoding="binary",
        )


def listed(app: celery.Celery, ledger: Ledger) -> list[str]:
    return [line.split("\t")[0] for line in dead_letters.show(app, ledger)]


def test_letter_whose_dataset_is_gone_holds_up_no_other(
    app: celery.Celery,
    broker: MemoryBroker,
    tmp_path: Path,
    lite: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lite.datasets.place(new_dataset(dataset_id="0" * 32), owner="local", put=lambda: None)
    gone, good = failed(lite, dataset_id="0" * 32).job_id, failed(lite).job_id
    lite.datasets.delete("0" * 32, owner=None)
    put(app, gone)
    put(app, good)
    config = settings.Settings(ledger=settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3"))
    monkeypatch.setattr(settings, "load", lambda: config)
    monkeypatch.setattr(dead_letters, "make_app", lambda _: app)
    monkeypatch.setattr(dead_letters, "RpcClient", lambda _, role, name: broker.client(role, name))
    assert dead_letters.main(["replay", "--all"]) == 1
    said = capsys.readouterr()
    old, new = said.out.split()
    assert (old, lite.jobs.find(new, owner="local").model) == (good, "churn")
    assert said.err == f"{gone}: its dataset is gone; the letter is kept.\n"
    assert listed(app, lite) == [gone]


def test_copies_of_a_letter_are_one_to_whoever_reads_them(
    app: celery.Celery, broker: MemoryBroker, rpc: RpcClient, lite: Ledger
) -> None:
    copied = failed(lite).job_id
    for _ in range(3):
        put(app, copied)
    assert listed(app, lite) == [copied]
    replayed = dead_letters.replay(app, lite, Enqueuer(app, rpc, lite), None)
    assert [job.job_id for job in lite.watching.waiting(9)] == [replayed.sent[copied]]
    assert len(broker.queues[topology.JOBS].ready) == 1
    assert listed(app, lite) == []


def test_letter_of_no_failed_job_is_unknown_and_is_never_replayed(
    app: celery.Celery, broker: MemoryBroker, rpc: RpcClient, lite: Ledger
) -> None:
    live, wrong = taken(lite), taken(lite)
    lite.leases.finish(wrong.job_id, wrong.epoch, Ended("failed", error=errors.BadInput("one class").to_body()))
    claimed = [live.job_id, wrong.job_id, "f" * 32]
    for job_id in (*claimed, "\x1b[2Jx", "\0"):
        put(app, job_id, owner="boss")
    lines = dead_letters.show(app, lite)
    assert lines[:3] == [f"-\tunknown job\t{job_id}" for job_id in claimed]
    assert [line.split("\t")[:2] for line in lines[3:]] == [["-", "job.dead"]] * 2
    replayed = dead_letters.replay(app, lite, Enqueuer(app, rpc, lite), None)
    assert (replayed.sent, set(replayed.kept)) == ({}, set(claimed))
    assert lite.watching.waiting(9) == []
    assert dead_letters.show(app, lite) == lines


def test_job_is_sent_again_as_the_ledger_has_it_whatever_its_letter_says(
    app: celery.Celery, rpc: RpcClient, lite: Ledger
) -> None:
    job = failed(lite)
    request = messages.TrainRequest(
        job_id="", attempt=0, model="prices", dataset=messages.DatasetRef(id="1" * 32), target="t", promote="always"
    )
    put(app, job.job_id, owner="boss", model="prices", request=msgspec.to_builtins(request))
    (line,) = dead_letters.show(app, lite)
    assert line.split("\t")[:2] == [job.job_id, "churn"]
    replayed = dead_letters.replay(app, lite, Enqueuer(app, rpc, lite), None)
    again = lite.jobs.find(replayed.sent[job.job_id], owner=None)
    for field in ("owner", "model", "dataset_id", "request", "kind"):
        assert getattr(again, field) == getattr(job, field)


def test_job_whose_letter_was_pushed_out_is_sent_again_by_its_id(
    app: celery.Celery, rpc: RpcClient, lite: Ledger
) -> None:
    job = failed(lite)
    replayed = dead_letters.replay(app, lite, Enqueuer(app, rpc, lite), {job.job_id, "f" * 32})
    assert [job.job_id for job in lite.watching.waiting(9)] == [replayed.sent[job.job_id]]
    assert list(replayed.kept) == ["f" * 32]


def test_job_that_would_not_be_accepted_any_more_is_named_and_holds_up_no_other(
    app: celery.Celery, rpc: RpcClient, lite: Ledger
) -> None:
    request = msgspec.json.decode(new_job().request) | {"estimator": "NoLongerThere"}
    old = failed(lite, request=msgspec.json.encode(request).decode()).job_id
    good = failed(lite).job_id
    for job_id in (old, good):
        put(app, job_id)
    replayed = dead_letters.replay(app, lite, Enqueuer(app, rpc, lite), None)
    assert (list(replayed.sent), list(replayed.kept)) == ([good], [old])
    assert listed(app, lite) == [old]


def test_a_replay_that_ends_behind_its_insert_has_its_one_entry(
    app: celery.Celery, rpc: RpcClient, lite: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        raise RuntimeError("as good as killed")

    dead = failed(lite).job_id
    put(app, dead)
    enqueuer = Enqueuer(app, rpc, lite)
    with monkeypatch.context() as patched:
        patched.setattr(enqueuer, "enqueue", end)
        with pytest.raises(RuntimeError):
            dead_letters.replay(app, lite, enqueuer, None)
    (job,) = lite.watching.waiting(9)
    (entry,) = lite.audit.page(before=None, limit=9)
    assert dead_letters.replay(app, lite, enqueuer, None).sent == {dead: job.job_id}
    assert lite.audit.page(before=None, limit=9) == [entry]
    assert (entry.actor, entry.action, entry.target) == ("command-line", "train.accepted", f"{job.job_id} churn")


def failed(ledger: Ledger, **changed: Any) -> rows.Job:
    """A job whose dead letter is due."""
    job = taken(ledger, **changed)
    ledger.leases.finish(job.job_id, job.epoch, Ended("failed", error=errors.InternalError().to_body(), dead=True))
    return job


def taken(ledger: Ledger, **changed: Any) -> rows.Job:
    job = ledger.leases.take(ledger.jobs.accept(new_job(**changed), queued_limit=9).job_id, "w1")
    assert job is not None
    return job


def test_broker_that_does_not_confirm_is_given_few_copies(broker: MemoryBroker, rpc: RpcClient, lite: Ledger) -> None:
    job = failed(lite)
    now_s = 0.0
    workers = [DeadLetters(lite, rpc, lambda: now_s) for _ in range(2)]
    broker.freeze()
    with pytest.raises(errors.BrokerUnavailable):
        workers[0].send_due()
    for _ in range(int(dead_letters.AGAIN_S)):
        for worker in workers:
            worker.send_due()
        now_s += 1
    broker.thaw()
    assert len(broker.queues[topology.DEAD].ready) == 1
    for worker in workers:
        worker.send_due()
    assert len(broker.queues[topology.DEAD].ready) == 2
    assert lite.jobs.find(job.job_id, owner=None).dead_letter == "sent"


def test_letter_that_no_message_holds_is_not_due_for_ever(
    broker: MemoryBroker, rpc: RpcClient, lite: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    large = failed(lite, request=too_large())
    good = failed(lite)
    DeadLetters(lite, rpc).send_due()
    assert [lite.jobs.find(job.job_id, owner=None).dead_letter for job in (large, good)] == ["too_large", "sent"]
    assert len(broker.queues[topology.DEAD].ready) == 1
    assert [said.message for said in caplog.records if said.levelname == "ERROR"] == ["job.dead_lettered"]
    assert lite.forget_jobs(before_ms=now_ms() + 1) == 2


def test_letters_wait_for_a_broker_that_is_away_and_then_go_at_once(
    broker: MemoryBroker, rpc: RpcClient, lite: Ledger
) -> None:
    failed(lite)
    letters = DeadLetters(lite, rpc)
    broker.stop()
    wait_until(lambda: not rpc.connected, "the connection is lost")
    with pytest.raises(errors.BrokerUnavailable):
        letters.send_due()
    broker.start()
    assert rpc.wait_connected(10)
    letters.send_due()
    assert len(broker.queues[topology.DEAD].ready) == 1


def test_leases_are_renewed_while_the_broker_considers_a_letter(
    ledger: Ledger, rpc: RpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(ledger)
    held = taken(ledger)
    real, renewed = rpc.publish, []

    def publish(*arguments: Any, **keywords: Any) -> None:
        renewed.extend(ledger.leases.renew([(held.job_id, held.epoch)]))
        real(*arguments, **keywords)

    monkeypatch.setattr(rpc, "publish", publish)
    DeadLetters(ledger, rpc).send_due()
    assert renewed == [held.job_id]
