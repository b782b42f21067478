"""A whole dataset is predicted, as often as it takes and once as far as anybody can see."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow.parquet
import pytest

from api.datasets.files import DatasetFolder
from api.jobs import dead_letters
from api.jobs.celery_app import make_app
from api.jobs.enqueueing import Enqueuer
from api.jobs.sweeping import Sweeper
from api.ledger import Ledger
from api.offline.folder import OutputFolder
from tests.integration.offline.conftest import Desk, Fleet
from tests.rabbit import Rabbit, wait_until
from tests.unit.predictor.artefacts import Shelf, regression
from wire import settings, topology
from wire.client import RpcClient
from wire.retention import Retention

ROWS = 6_000
TABLE = "key,b,a\n" + "".join(f"k{at},{at}.5,{at % 7}\n" for at in range(ROWS))
LONG = "a,b\n" + "".join(f"{at},{at}\n" for at in range(100_000))
"""Ten thousand blocks: long enough for what has to happen before a job ends."""
EXPECTED = "prediction,error\n" + "".join(f"{at % 7 + at + 0.5},\n" for at in range(ROWS))


@pytest.fixture
def dataset(desk: Desk) -> str:
    return desk.upload(TABLE)


def published(config: settings.Settings, job_id: str) -> list[str]:
    return sorted(path.name for path in (config.paths.predictions / job_id).iterdir())


def assert_whole(desk: Desk, job_id: str) -> None:
    job = desk.ended(job_id)
    assert (job["status"], job["result"]["rows"], job["result"]["refused"]) == ("succeeded", ROWS, 0), job
    assert job["attempts"] == 1
    assert desk.output(job_id).text == EXPECTED
    assert published(desk.config, job_id) == ["output.csv", "output.parquet", "summary.json"]
    assert desk.drafts(job_id) == []


class TestOutputs:
    def test_every_row_has_its_answer_or_the_reason_why_not(self, desk: Desk) -> None:
        table = 'key,a,b,note\n1,2,1,"x, ""y"""\n2,oops,1,\n3,?,1,z\n4,1,2,\n'
        made = desk.ask(desk.upload(table), "larger", probabilities=True, columns=["note", "key"])
        job = desk.ended(made["job_id"])
        assert (job["status"], job["version"], job["result"]["refused"]) == ("succeeded", 1, 2), job
        answer = desk.output(made["job_id"])
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        found = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["key"] for row in found] == ["1", "2", "3", "4"]
        assert [row["note"] for row in found] == ['x, "y"', "", "z", ""]
        assert [row["prediction"] for row in found] == ['yes, "a"', "", "", "no"]
        assert found[1]["error"] == "a must be a number, or empty where it is missing"
        assert "not a finite number" in found[2]["error"]
        live = desk.http.post("/predict", json={"model": "larger", "instances": [[2, 1]], "probabilities": True}).json()
        shares = [float(found[0][name]) for name in ("probability_no", 'probability_yes, "a"')]
        assert live["probabilities"] == [shares]

    def test_parquet_holds_the_same_with_types(self, desk: Desk, dataset: str) -> None:
        job_id = desk.ask(dataset, columns="all")["job_id"]
        assert desk.ended(job_id)["status"] == "succeeded"
        media = "application/vnd.apache.parquet"
        by_query = desk.output(job_id, params={"format": "parquet"})
        by_header = desk.output(job_id, headers={"Accept": f"{media}, */*;q=0.1"})
        assert by_query.content == by_header.content
        assert by_query.headers["content-type"] == media
        table = pyarrow.parquet.read_table(io.BytesIO(by_query.content))
        assert [str(kind) for kind in table.schema.types] == ["string", "string", "string", "double", "string"]
        text = desk.output(job_id).text
        assert table.num_rows == ROWS
        assert table["prediction"].to_pylist() == [
            float(row["prediction"]) for row in csv.DictReader(io.StringIO(text))
        ]
        part = desk.output(job_id, expect=206, headers={"Range": "bytes=0-7"})
        assert part.text == text[:8]
        refused = desk.output(job_id, expect=416, headers={"Range": "bytes=999999999-"})
        assert refused.json()["code"] == "range_not_satisfiable"
        assert desk.output(job_id, headers={"Range": "lines=1"}).text == text

    def test_a_repeated_job_gives_the_same_bytes(self, desk: Desk, dataset: str) -> None:
        first, second = (desk.ask(dataset)["job_id"] for _ in range(2))
        assert_whole(desk, first)
        assert_whole(desk, second)
        both = [desk.output(job_id, params={"format": "parquet"}).content for job_id in (first, second)]
        assert both[0] == both[1]

    def test_the_same_key_gives_the_same_job(self, desk: Desk, dataset: str) -> None:
        first = desk.ask(dataset, key="once")
        assert desk.ask(dataset, key="once")["job_id"] == first["job_id"]
        desk.ask(dataset, key="once", expect=422, probabilities=False, columns=["key"])
        assert_whole(desk, first["job_id"])

    def test_there_is_no_output_before_the_end_nor_after_a_failure(self, desk: Desk, dataset: str) -> None:
        made = desk.ask(dataset)
        assert desk.output(made["job_id"], 409).json()["code"] == "conflict"
        desk.http.post(f"/jobs/{made['job_id']}/cancel")
        assert desk.ended(made["job_id"])["status"] in ("cancelled", "succeeded")
        failed = desk.ask(desk.upload("a,b\nx,1\ny,2\n"))
        job = desk.ended(failed["job_id"])
        assert (job["status"], job["error"]["code"]) == ("failed", "bad_input")
        assert desk.output(failed["job_id"], 404).json()["code"] == "not_found"
        assert desk.output("0" * 32, 404).json()["code"] == "job_not_found"
        assert desk.output("nothing", 404).json()["code"] == "job_not_found"
        assert desk.output(failed["job_id"], 422, params={"format": "xml"}).json()["code"] == "bad_input"

    def test_an_output_that_is_not_kept_is_said_to_be_gone(self, desk: Desk, config: settings.Settings) -> None:
        job_id = desk.ask(desk.upload("a,b\n1,2\n"))["job_id"]
        assert desk.ended(job_id)["status"] == "succeeded"
        OutputFolder(config.paths.predictions).remove(job_id)
        assert "no longer kept" in desk.output(job_id, 404).json()["detail"]

    def test_what_cannot_be_done_is_refused_at_once(self, desk: Desk, dataset: str) -> None:
        for expect, code, given in (
            (404, "dataset_not_found", {"dataset": "0" * 32}),
            (404, "model_not_found", {"model": "nobody"}),
            (404, "version_not_found", {"version": 9}),
            (404, "alias_not_found", {"version": "nowhere"}),
            (422, "bad_input", {"probabilities": True}),
            (422, "bad_input", {"columns": ["nothing"]}),
            (422, "bad_input", {"dataset": desk.upload("a,c\n1,2\n")}),
            (422, "bad_input", {"rows": 3}),
        ):
            assert desk.ask(**{"dataset": dataset, **given}, expect=expect)["code"] == code, given


class TestFaults:
    def test_without_predictors_a_job_waits_for_the_next_one(self, desk: Desk, fleet: Fleet, dataset: str) -> None:
        job_id = desk.ask(dataset)["job_id"]
        desk.predicting(job_id)
        for one in fleet.predictors:
            one.kill()
        fleet.new_predictor().wait_ready()
        assert_whole(desk, job_id)

    def test_a_trainer_killed_while_it_reads_is_replaced(
        self, desk: Desk, fleet: Fleet, config: settings.Settings
    ) -> None:
        rows = 300_000
        large = desk.upload("a,b\n" + "".join(f"{at},{at}\n" for at in range(rows)))
        job_id = desk.ask(large)["job_id"]
        drafts = config.paths.predictions / ".tmp"
        wait_until(lambda: list(drafts.glob(f"{job_id}-*/rows.blocks.*")), "rows are read", 30)
        fleet.trainer.kill()
        fleet.whole()
        desk.wait(job_id, lambda job: job["progress"]["stage"] == "predicting", "rows are predicted")
        desk.http.post(f"/jobs/{job_id}/cancel")
        assert desk.ended(job_id)["status"] == "cancelled"

    def test_a_broker_that_goes_and_comes_costs_no_row(self, desk: Desk, dataset: str, rabbitmq: Rabbit) -> None:
        job_id = desk.ask(dataset)["job_id"]
        desk.predicting(job_id)
        with rabbitmq.stopped():
            pass
        assert_whole(desk, job_id)
        wait_until(lambda: desk.http.get("/readyz").status_code == 200, "the replica is connected again")

    def test_a_cancel_ends_a_job_within_seconds_and_leaves_nothing(
        self, desk: Desk, config: settings.Settings, rabbitmq: Rabbit
    ) -> None:
        job_id = desk.ask(desk.upload(LONG))["job_id"]
        desk.predicting(job_id)
        assert desk.http.post(f"/jobs/{job_id}/cancel").status_code == 202
        desk.wait(job_id, lambda job: job["status"] == "cancelled", "the job is cancelled", 30)
        assert desk.drafts(job_id) == []
        assert not (config.paths.predictions / job_id).exists()
        with rabbitmq.channel(config.broker.vhost) as channel:
            wait_until(
                lambda: channel.queue_declare(topology.BULK, passive=True).method.message_count == 0, "no block waits"
            )

    def test_live_predictions_are_answered_while_a_job_runs(self, desk: Desk) -> None:
        job_id = desk.ask(desk.upload(LONG))["job_id"]
        desk.predicting(job_id)
        body, patient = {"model": "sum", "instances": [[1, 2]]}, {"X-Request-Timeout-Ms": "20000"}
        for _ in range(20):
            answer = desk.http.post("/predict", json=body, headers=patient)
            assert (answer.status_code, answer.json()["predictions"]) == (200, [3.0])
        assert desk.job(job_id)["status"] == "running"
        desk.http.post(f"/jobs/{job_id}/cancel")
        assert desk.ended(job_id)["status"] == "cancelled"


def test_a_job_that_fails_for_good_is_a_dead_letter_and_can_be_sent_again(
    desk: Desk, ledger: Ledger, config: settings.Settings, shelf: Shelf
) -> None:
    version = shelf.publish(regression(2), "damaged")
    artefact = shelf.volume.version("damaged", version) / "model.onnx"
    whole = artefact.read_bytes()
    artefact.write_bytes(b"x" + whole[1:])
    job_id = desk.ask(desk.upload("a,b\n1,2\n"), "damaged")["job_id"]
    job = desk.ended(job_id)
    assert (job["status"], job["error"]["code"], job["attempts"]) == ("failed", "model_corrupt", 3)
    wait_until(lambda: ledger.jobs.find(job_id, owner=None).dead_letter == "sent", "the dead letter is out")
    app = make_app(config.broker)
    assert [line.split("\t")[:2] for line in dead_letters.show(app, ledger)] == [[job_id, "damaged"]]

    artefact.write_bytes(whole)
    live = {"model": "damaged", "instances": [[1, 2]]}
    wait_until(lambda: desk.http.post("/predict", json=live).status_code == 200, "the version is served", 30)
    rpc = RpcClient(config.broker, "worker", "replay")
    rpc.start()
    try:
        assert rpc.wait_connected(10)
        again = dead_letters.replay(app, ledger, Enqueuer(app, rpc, ledger), None).sent[job_id]
    finally:
        rpc.close()
    assert desk.ended(again)["status"] == "succeeded"
    assert desk.output(again).text == "prediction,error\n6.0,\n"


def test_outputs_are_kept_for_their_days_and_no_longer(
    desk: Desk, ledger: Ledger, config: settings.Settings, tmp_path: Path
) -> None:
    job_id = desk.ask(desk.upload("a,b\n1,2\n"))["job_id"]
    assert desk.ended(job_id)["status"] == "succeeded"
    outputs = OutputFolder(config.paths.predictions)
    folder = DatasetFolder(tmp_path / "none")
    Sweeper(ledger, folder, outputs, Retention()).sweep()
    desk.output(job_id)
    Sweeper(ledger, folder, outputs, Retention(outputs_days=1e-9)).sweep()
    desk.output(job_id, 404)
