"""A part of the gateway is killed while rows are being predicted; the output has each row once, in order and right."""

from __future__ import annotations

import pytest

from api.ledger import Ledger
from api.offline.folder import CSV
from tests.integration.offline.conftest import Desk, Fleet
from tests.rabbit import Rabbit, wait_until
from wire import row_blocks

ROWS = 40_000
TABLE = "key,b,a\n" + "".join(f"k{at},{at}.5,{at % 7}\n" for at in range(ROWS))
EXPECTED = "key,prediction,error\n" + "".join(f"k{at},{at % 7 + at + 0.5},\n" for at in range(ROWS))


@pytest.fixture
def job_id(desk: Desk) -> str:
    """A job some of whose rows are answered."""
    job_id = str(desk.ask(desk.upload(TABLE), columns=["key"])["job_id"])
    desk.predicting(job_id)
    return job_id


def assert_midway(desk: Desk, job_id: str) -> None:
    """Whoever was killed had not done all rows: the draft still has those that are to be predicted."""
    job = desk.job(job_id)
    assert (job["status"], job["progress"]["stage"]) == ("running", "predicting"), job
    [draft] = desk.drafts(job_id)
    folder = desk.config.paths.predictions / ".tmp" / draft
    assert {row_blocks.FILE, CSV} <= {path.name for path in folder.iterdir()}


def assert_each_row_once(desk: Desk, job_id: str, ledger: Ledger, *, attempts: int) -> None:
    job = desk.ended(job_id)
    assert (job["status"], job["attempts"]) == ("succeeded", attempts), job
    assert (job["result"]["rows"], job["result"]["refused"]) == (ROWS, 0)
    # By lines, so that a failure names the first row that differs and does not compare one long text.
    assert desk.output(job_id).text.splitlines(keepends=True) == EXPECTED.splitlines(keepends=True)
    assert desk.drafts(job_id) == []
    events = [event.name for event in ledger.jobs.events(job_id, after=0, limit=1000)]
    assert events.count("succeeded") == 1


def test_a_killed_broker_costs_no_row_and_no_attempt(desk: Desk, job_id: str, rabbitmq: Rabbit, ledger: Ledger) -> None:
    before = rabbitmq.node.pid
    with rabbitmq.killed():
        assert_midway(desk, job_id)
    assert rabbitmq.node.pid != before
    assert_each_row_once(desk, job_id, ledger, attempts=1)
    wait_until(lambda: desk.http.get("/readyz").status_code == 200, "the replica is connected again")


@pytest.mark.parametrize("point", ["predictor.mid_block", "predictor.after_reply_before_ack"])
def test_a_predictor_killed_with_a_block_in_its_hands_costs_no_row_and_no_attempt(
    desk: Desk, fleet: Fleet, job_id: str, ledger: Ledger, point: str
) -> None:
    """The second point is the one at which the block comes again though its answer is under way."""
    before = {one: one.count("warren_bulk_redelivered") for one in fleet.predictors}
    killed = fleet.predictor_killed_at(point)
    assert_midway(desk, job_id)
    [other] = (one for one in fleet.predictors if one is not killed)
    assert_each_row_once(desk, job_id, ledger, attempts=1)
    assert other.count("warren_bulk_redelivered") == before[other] + 1


def test_a_killed_worker_costs_no_row_and_the_next_attempt_ends_the_job(
    desk: Desk, fleet: Fleet, job_id: str, ledger: Ledger
) -> None:
    fleet.worker.kill()
    assert_midway(desk, job_id)
    assert desk.output(job_id, 409)
    fleet.whole()
    assert_each_row_once(desk, job_id, ledger, attempts=2)
