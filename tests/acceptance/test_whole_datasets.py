"""A person has a whole table predicted, through Nginx, and fetches the answers as CSV and as Parquet."""

from __future__ import annotations

import csv
import io
import random
import uuid
from collections.abc import Iterator

import pyarrow.parquet
import pytest

from tests.acceptance.stack import Client, Json, Stack

ROWS = 3_000


def table(rows: int, seed: int, labelled: bool) -> bytes:
    """Numbers with a decimal comma, text with separators, dates day first, and missing cells."""
    draw = random.Random(seed)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";")
    writer.writerow(["key", "amount", "shop", "day", *(["returned"] if labelled else [])])
    for at in range(rows):
        amount = draw.uniform(1, 900)
        cells = [
            f"k{at}",
            "" if draw.random() < 0.1 else f"{amount:.2f}".replace(".", ","),
            draw.choice(["Köln; west", 'the "Hague"', "NA", "Porto"]),
            f"{draw.randint(1, 28):02}.{draw.randint(1, 12):02}.2025",
        ]
        writer.writerow([*cells, *([["no", "yes"][amount > 400]] if labelled else [])])
    return out.getvalue().encode()


@pytest.fixture(scope="module")
def predicted(stack: Stack) -> Iterator[Json]:
    """A finished job, and what was asked."""
    with Client(stack.url, stack.key) as client:
        model = f"returns-{uuid.uuid4().hex[:8]}"
        dataset = client.upload(table(600, 1, labelled=True))["dataset_id"]
        client.trained(model=model, dataset={"id": dataset}, target="returned", estimator="LogisticRegression")
        asked = client.upload(table(ROWS, 2, labelled=False))["dataset_id"]
        body = {"model": model, "dataset": {"id": asked}, "columns": ["key"], "probabilities": True}
        made = client.call("POST", "/batch-predictions", 202, json=body, headers={"Idempotency-Key": model})
        again = client.call("POST", "/batch-predictions", 202, json=body, headers={"Idempotency-Key": model})
        assert again["job_id"] == made["job_id"]
        yield {"model": model, "job": client.finished(made["job_id"]), "links": made["links"]}


def output(client: Client, predicted: Json, **given: str) -> bytes:
    answer = client.http.get(predicted["links"]["output"], params=given)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_every_row_is_answered_in_its_place(predicted: Json, client: Client) -> None:
    job = predicted["job"]
    assert (job["status"], job["kind"], job["version"]) == ("succeeded", "predict", 1), job
    assert (job["result"]["rows"], job["result"]["refused"]) == (ROWS, 0)
    rows = list(csv.DictReader(io.StringIO(output(client, predicted).decode())))
    assert [row["key"] for row in rows] == [f"k{at}" for at in range(ROWS)]
    assert {row["prediction"] for row in rows} == {"no", "yes"}
    assert all(row["error"] == "" for row in rows)


def test_the_answers_are_those_of_live_predictions(predicted: Json, client: Client) -> None:
    asked = list(csv.DictReader(io.StringIO(table(ROWS, 2, labelled=False).decode()), delimiter=";"))[:200]
    instances = [
        {
            "key": row["key"],
            "amount": float(row["amount"].replace(",", ".")) if row["amount"] else None,
            "shop": row["shop"],
            "day": row["day"],
        }
        for row in asked
    ]
    live = client.predict(model=predicted["model"], instances=instances, probabilities=True)
    rows = list(csv.DictReader(io.StringIO(output(client, predicted).decode())))[:200]
    assert [row["prediction"] for row in rows] == live["predictions"]
    shares = [[float(row["probability_no"]), float(row["probability_yes"])] for row in rows]
    assert shares == live["probabilities"]


def test_parquet_holds_the_same_answers(predicted: Json, client: Client) -> None:
    found = pyarrow.parquet.read_table(io.BytesIO(output(client, predicted, format="parquet")))
    rows = list(csv.DictReader(io.StringIO(output(client, predicted, format="csv").decode())))
    assert found["prediction"].to_pylist() == [row["prediction"] for row in rows]
    assert found["probability_yes"].to_pylist() == [float(row["probability_yes"]) for row in rows]
    assert found["error"].null_count == ROWS


def test_an_event_stream_tells_of_the_three_stages(predicted: Json, client: Client) -> None:
    events = list(client.events(predicted["job"]["job_id"]))
    stages = [event.data["progress"]["stage"] for event in events]
    assert stages[0] == "queued"
    assert stages[-1] == "done"
    assert "reading" in stages
    assert events[-1].name == "succeeded"
