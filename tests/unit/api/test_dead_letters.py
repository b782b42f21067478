"""Dead letters on a queue of kombu's own broker in memory: what is listed, and what is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery
import pytest
from kombu.transport import memory

from api.jobs import dead_letters
from api.jobs.celery_app import make_app
from api.jobs.dead_letters import DeadLetters
from api.jobs.enqueueing import Enqueuer
from api.ledger import Ledger, rows
from api.ledger.leases import Ended
from tests.jobs import new_job
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


def put(app: celery.Celery, job_id: str, dataset_id: str | None = None) -> None:
    """A dead letter of this job."""
    letter = messages.JobDead(
        job_id=job_id,
        owner="ann",
        model="churn",
        dataset_id=dataset_id,
        attempts=3,
        error=errors.InternalError("it fell").to_body(),
        request={},
    )
    with app.connection_for_write() as connection:
        connection.Producer().publish(
            letter.encode(),
            routing_key=topology.DEAD,
            type=letter.TYPE,
            content_type="application/octet-stream",
            content_encoding="binary",
        )


def listed(app: celery.Celery) -> list[str]:
    return [line.split("\t")[0] for line in dead_letters.show(app)]


def test_letter_whose_dataset_is_gone_holds_up_no_other(
    app: celery.Celery,
    broker: MemoryBroker,
    tmp_path: Path,
    lite: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(app, "gone", dataset_id="0" * 32)
    put(app, "good")
    config = settings.Settings(ledger=settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3"))
    monkeypatch.setattr(settings, "load", lambda: config)
    monkeypatch.setattr(dead_letters, "make_app", lambda _: app)
    monkeypatch.setattr(dead_letters, "RpcClient", lambda _, role, name: broker.client(role, name))
    assert dead_letters.main(["replay", "--all"]) == 1
    said = capsys.readouterr()
    old, new = said.out.split()
    assert (old, lite.jobs.find(new, owner="ann").model) == ("good", "churn")
    assert said.err == "gone: its dataset is gone; the letter is kept.\n"
    assert listed(app) == ["gone"]


def test_copies_of_a_letter_are_one_to_whoever_reads_them(
    app: celery.Celery, broker: MemoryBroker, rpc: RpcClient, lite: Ledger
) -> None:
    for _ in range(3):
        put(app, "copied")
    assert listed(app) == ["copied"]
    replayed = dead_letters.replay(app, lite, Enqueuer(app, rpc, lite), None)
    assert [job.job_id for job in lite.watching.waiting(9)] == list(replayed.values())
    assert len(broker.queues[topology.JOBS].ready) == 1
    assert listed(app) == []


def failed(ledger: Ledger) -> rows.Job:
    """A job whose dead letter is due."""
    job = taken(ledger)
    ledger.leases.finish(job.job_id, job.epoch, Ended("failed", error=errors.InternalError().to_body(), dead=True))
    return job


def taken(ledger: Ledger) -> rows.Job:
    job = ledger.leases.take(ledger.jobs.accept(new_job(), queued_limit=9).job_id, "w1")
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
