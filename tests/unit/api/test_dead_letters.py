"""Dead letters on a queue of kombu's own broker in memory: what is listed, and what is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import celery
import pytest
from kombu.transport import memory

from api.jobs import dead_letters
from api.jobs.celery_app import make_app
from api.ledger import Ledger
from wire import errors, messages, settings, topology
from wire.memory import MemoryBroker


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[celery.Celery]:
    """Celery on an empty queue of dead letters, to which unacknowledged letters go back."""
    monkeypatch.setattr(memory.Channel, "do_restore", True)
    app = make_app(settings.Broker())
    app.conf.broker_url = "memory://"
    with app.connection_for_write() as connection:
        connection.default_channel.queue_declare(topology.DEAD)
        yield app
        connection.default_channel.queue_delete(topology.DEAD)


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3"))
    ledger.migrate()
    yield ledger
    ledger.close()


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
    tmp_path: Path,
    lite: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(app, "gone", dataset_id="0" * 32)
    put(app, "good")
    broker = MemoryBroker()
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
