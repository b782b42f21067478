"""The ledger from the caller's side: accept, withdraw, find, list, cancel."""

from __future__ import annotations

import threading
from functools import partial

import msgspec
import pytest
from sqlalchemy import event

from api.ledger import Ledger, rows
from api.ledger.database import now_ms
from api.ledger.leases import Ended
from tests.jobs import all_at_once, new_dataset, new_job
from tests.postgres import Postgres
from wire import errors, settings


def accept(ledger: Ledger, **changed: object) -> rows.Job:
    return ledger.jobs.accept(new_job(**changed), queued_limit=1000)


def names_of_events(ledger: Ledger, job: rows.Job) -> list[str]:
    return [event.name for event in ledger.jobs.events(job.job_id, after=0, limit=100)]


def test_accepted_job_waits_and_has_one_event(ledger: Ledger) -> None:
    job = accept(ledger)
    assert (job.status, job.attempts, job.confirmed, job.epoch) == ("queued", 0, False, 0)
    assert names_of_events(ledger, job) == ["queued"]
    assert ledger.jobs.find(job.job_id, owner="local") == job


def test_a_text_with_a_nul_matches_nothing_and_can_be_kept(ledger: Ledger) -> None:
    job = accept(ledger, model="m")
    assert ledger.jobs.page(owner=None, model="m\0", status=None, before=None, limit=9)[0] == []
    assert ledger.jobs.by_key("local", "\0", "d1") is None
    leased = ledger.leases.take(job.job_id, "w1")
    assert leased is not None
    error = errors.ErrorBody("bad_input", "of the first one: city must not be 'a\0b'.")
    assert ledger.leases.finish(job.job_id, leased.epoch, Ended("failed", error=error))
    assert ledger.jobs.find(job.job_id, owner=None).error_message == "of the first one: city must not be 'a\ufffdb'."


def test_same_key_and_body_give_the_same_job(ledger: Ledger) -> None:
    first = accept(ledger, idempotency_key="k")
    assert accept(ledger, idempotency_key="k").job_id == first.job_id


def test_key_is_looked_up_without_a_job(ledger: Ledger) -> None:
    assert ledger.jobs.by_key("local", "k", "d1") is None
    job = accept(ledger, idempotency_key="k")
    assert ledger.jobs.by_key("local", "k", "d1") == job
    assert ledger.jobs.by_key("ann", "k", "d1") is None
    with pytest.raises(errors.BadInput):
        ledger.jobs.by_key("local", "k", "d2")
    ledger.jobs.withdraw(job)
    assert ledger.jobs.by_key("local", "k", "d1") is None


def test_same_key_with_another_body_is_refused(ledger: Ledger) -> None:
    accept(ledger, idempotency_key="k")
    with pytest.raises(errors.BadInput):
        accept(ledger, idempotency_key="k", body_digest="d2")


def test_keys_of_two_owners_do_not_meet(ledger: Ledger) -> None:
    assert accept(ledger, idempotency_key="k").job_id != accept(ledger, idempotency_key="k", owner="other").job_id


def test_one_key_sent_sixteen_times_at_once_makes_one_job(ledger: Ledger) -> None:
    outcomes = all_at_once(*(partial(accept, ledger, idempotency_key="k") for _ in range(16)))
    assert len({outcome.job_id for outcome in outcomes}) == 1
    assert len(ledger.jobs.page(owner=None, model=None, status=None, before=None, limit=100)[0]) == 1


def test_jobs_without_a_key_are_all_different(ledger: Ledger) -> None:
    assert accept(ledger).job_id != accept(ledger).job_id


def test_confirm_of_an_ended_job_says_so(ledger: Ledger) -> None:
    job = accept(ledger)
    ledger.jobs.request_cancel(job.job_id, owner=None)
    assert not ledger.jobs.confirm(job.job_id)


def test_too_many_waiting_jobs_are_refused(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.jobs.accept(new_job(), queued_limit=3)
    with pytest.raises(errors.Overloaded):
        ledger.jobs.accept(new_job(), queued_limit=3)


def test_job_of_an_unknown_dataset_is_refused(ledger: Ledger) -> None:
    with pytest.raises(errors.DatasetNotFound):
        accept(ledger, dataset_id="0" * 32)


def test_accepting_marks_the_dataset_as_used(ledger: Ledger) -> None:
    dataset = new_dataset()
    ledger.datasets.place(dataset, owner="local", put=lambda: None)
    accept(ledger, dataset_id=dataset.dataset_id)
    assert ledger.datasets.find(dataset.dataset_id, owner=None).used_ms > dataset.used_ms


def test_other_owners_jobs_are_not_found(ledger: Ledger) -> None:
    job = accept(ledger, owner="ann")
    for act in (ledger.jobs.find, ledger.jobs.request_cancel):
        with pytest.raises(errors.JobNotFound):
            act(job.job_id, owner="bob")
    assert ledger.jobs.page(owner="bob", model=None, status=None, before=None, limit=9)[0] == []
    assert ledger.jobs.find(job.job_id, owner=None).owner == "ann"


def test_list_is_newest_first_by_pages_and_filters(ledger: Ledger) -> None:
    made = [accept(ledger, model=model) for model in ("a", "b", "a", "b")]
    ledger.jobs.request_cancel(made[0].job_id, owner=None)

    def page(**changed: object) -> list[str]:
        asked = {"owner": "local", "model": None, "status": None, "before": None, "limit": 9} | changed
        return [job.job_id for job in ledger.jobs.page(**asked)[0]]

    newest_first = [job.job_id for job in reversed(made)]
    assert page() == newest_first
    assert page(limit=2) == newest_first[:2]
    assert page(before=made[2].number) == newest_first[2:]
    assert page(model="a") == [made[2].job_id, made[0].job_id]
    assert page(status="cancelled") == [made[0].job_id]


def test_position_counts_those_that_wait_before(ledger: Ledger) -> None:
    first, second, third = (accept(ledger) for _ in range(3))
    assert ledger.jobs.position(third) == 3
    ledger.jobs.request_cancel(second.job_id, owner=None)
    assert ledger.jobs.position(third) == 2
    assert ledger.jobs.position(first) == 1
    assert ledger.jobs.position(ledger.jobs.find(second.job_id, owner=None)) is None


def test_job_no_worker_had_is_cancelled_at_once(ledger: Ledger) -> None:
    job = accept(ledger)
    cancelled = ledger.jobs.request_cancel(job.job_id, owner="local")
    assert (cancelled.status, cancelled.ended) == ("cancelled", True)
    assert names_of_events(ledger, job) == ["queued", "cancelled"]
    assert ledger.leases.take(job.job_id, "w") is None


def test_job_a_worker_has_is_asked_to_be_cancelled_once(ledger: Ledger) -> None:
    job = accept(ledger)
    ledger.leases.take(job.job_id, "w")
    for _ in range(2):
        asked = ledger.jobs.request_cancel(job.job_id, owner="local")
        assert (asked.status, asked.cancel_requested) == ("queued", True)
    assert names_of_events(ledger, job) == ["queued", "cancelling"]


def test_job_between_two_attempts_is_not_cancelled_at_once(ledger: Ledger) -> None:
    """A trainer may still be at it; only the volume can say that no version comes."""
    job = accept(ledger)
    taken = ledger.leases.take(job.job_id, "w")
    assert taken is not None
    ledger.leases.give_back(taken)
    assert ledger.jobs.request_cancel(job.job_id, owner="local").status == "queued"


def test_cancel_of_an_ended_job_changes_nothing(ledger: Ledger) -> None:
    job = accept(ledger)
    taken = ledger.leases.take(job.job_id, "w")
    assert taken is not None
    ledger.leases.finish(job.job_id, taken.epoch, Ended("succeeded", result={"version": 1}))
    assert ledger.jobs.request_cancel(job.job_id, owner="local").status == "succeeded"


def test_events_are_read_behind_a_number_and_hold_the_state(ledger: Ledger) -> None:
    job = accept(ledger)
    taken = ledger.leases.take(job.job_id, "w")
    assert taken is not None
    for step in range(3):
        ledger.leases.progress(job.job_id, taken.epoch, fraction=step / 10, stage="fit", message=f"fold {step}")
    events = ledger.jobs.events(job.job_id, after=1, limit=2)
    assert [(event.sequence, event.name) for event in events] == [(2, "running"), (3, "progress")]
    said = msgspec.json.decode(events[1].data)
    assert said["progress"] == {"fraction": 0.1, "stage": "fit", "message": "fold 1"}
    assert (said["status"], said["attempts"]) == ("running", 1)
    assert ledger.jobs.event_counts([job.job_id, "0" * 32]) == {job.job_id: 4}


def test_old_ended_jobs_are_forgotten_with_their_events(ledger: Ledger) -> None:
    ended, waiting, withdrawn = (accept(ledger) for _ in range(3))
    ledger.jobs.request_cancel(ended.job_id, owner=None)
    ledger.jobs.withdraw(withdrawn)
    assert ledger.forget_jobs(before_ms=now_ms() - 60_000) == 0
    assert ledger.forget_jobs(before_ms=now_ms() + 60_000) == 2
    assert ledger.jobs.events(ended.job_id, after=0, limit=9) == []
    assert ledger.jobs.find(waiting.job_id, owner=None).status == "queued"


def test_old_withdrawn_job_that_its_key_makes_live_between_look_and_deletion_stays(postgres: Postgres) -> None:
    """On SQLite nobody else writes meanwhile."""
    ledger = Ledger(settings.Ledger(url=postgres.fresh_database(), timeout_s=10))
    ledger.migrate()
    kept, forgotten = (accept(ledger, idempotency_key=key) for key in ("k", "other"))
    for job in (kept, forgotten):
        ledger.jobs.withdraw(job)

    def revive(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("DELETE FROM jobs"):
            accept(ledger, idempotency_key="k")

    event.listen(ledger._database.engine, "before_cursor_execute", revive)
    assert ledger.forget_jobs(before_ms=now_ms() + 60_000) == 1
    assert ledger.jobs.find(kept.job_id, owner=None).status == "queued"
    assert names_of_events(ledger, kept) == ["queued"]
    assert names_of_events(ledger, forgotten) == []
    ledger.close()


def test_unreachable_database_is_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = tmp_path_factory.mktemp("nowhere")
    (nowhere / "file").touch()
    for url in (f"postgresql+psycopg://nobody@/none?host={nowhere}", f"sqlite:///{nowhere}/gone/ledger.sqlite3"):
        ledger = Ledger(settings.Ledger(url=url, timeout_s=0.2))
        if url.startswith("sqlite"):
            (nowhere / "gone").rmdir()
        with pytest.raises(errors.LedgerUnavailable):
            ledger.ping()
        ledger.close()


def test_locked_sqlite_is_waited_for_and_then_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory) -> None:
    config = settings.Ledger(url=f"sqlite:///{tmp_path_factory.mktemp('locked')}/l.sqlite3", timeout_s=0.3)
    holder, waiter = Ledger(config), Ledger(config)
    holder.migrate()
    release = threading.Event()
    held = threading.Event()

    def hold() -> None:
        with holder._database.writing():
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    with pytest.raises(errors.LedgerUnavailable):
        accept(waiter)
    assert waiter.jobs.page(owner=None, model=None, status=None, before=None, limit=1)[0] == []  # readers go on
    release.set()
    thread.join(10)
    holder.close()
    waiter.close()


def test_database_password_comes_from_its_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("secret") / "password"
    secret.write_text("s3cret/@:\n")
    ledger = Ledger(settings.Ledger(url="postgresql+psycopg://warren@db.invalid/warren", password_file=secret))
    assert ledger._database.engine.url.password == "s3cret/@:"
    assert "s3cret" not in repr(ledger._database.engine)
    ledger.close()
