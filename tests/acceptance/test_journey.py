"""What a person does on the first day, through Nginx, over HTTP, on a real stack."""

import random
import uuid

import pytest

from tests.acceptance.stack import Client, Json, Stack
from tests.rabbit import wait_until
from tests.source_tree import CHECKOUT

CUSTOMERS = CHECKOUT / "docs" / "examples" / "customers.csv"
LONG = {"estimator": "GradientBoostingClassifier", "params": {"n_estimators": 5000, "learning_rate": 0.001}}


def visitors(rows: int = 300, seed: int = 1) -> bytes:
    """A table with a number, a text, a date and a boolean column, some cells of each missing."""
    draw = random.Random(seed)
    lines = ["pages,source,first_seen,member,bought"]
    for _ in range(rows):
        pages, member = draw.randint(1, 40), draw.random() < 0.4
        bought = "yes" if pages > 15 or (member and pages > 8) else "no"
        cells = [
            "" if draw.random() < 0.1 else str(pages),
            "NA" if draw.random() < 0.1 else draw.choice(["search", "mail", "friend, of a friend", "ad"]),
            f"2026-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}",
            "" if draw.random() < 0.1 else str(member).lower(),
            bought,
        ]
        lines.append(",".join(f'"{cell}"' if "," in cell else cell for cell in cells))
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture(scope="package")
def trained(stack: Stack) -> Json:
    """Two versions of the model ``visitors``; the second is the champion."""
    with Client(stack.url, stack.key) as client:
        uploaded = client.upload(visitors())
        ask = {"model": "visitors", "dataset": {"id": uploaded["dataset_id"]}, "target": "bought"}
        first = client.trained(**ask, estimator="LogisticRegression")
        forest = {"estimator": "RandomForestClassifier", "params": {"n_estimators": 20}}
        second = client.trained(**ask, **forest, promote="always")
    return {"dataset": uploaded, "first": first, "second": second, "ask": ask}


def test_an_upload_says_what_is_in_each_column(trained: Json, client: Client) -> None:
    uploaded = trained["dataset"]
    assert uploaded["rows"] == 300
    columns = {column["name"]: column for column in uploaded["columns"]}
    assert {name: column["type"] for name, column in columns.items()} == {
        "pages": "number",
        "source": "text",
        "first_seen": "date",
        "member": "boolean",
        "bought": "text",
    }
    assert columns["source"]["missing"] > 0
    assert columns["bought"]["distinct"] == 2
    assert client.upload(visitors())["dataset_id"] == uploaded["dataset_id"]


def test_versions_count_up_and_the_first_becomes_champion(trained: Json) -> None:
    first, second = trained["first"], trained["second"]
    assert (first["version"], second["version"]) == (1, 2)
    assert first["promoted"] is True
    assert second["promoted"] is True
    assert first["metrics"]


def test_rows_are_predicted_by_name_with_cells_left_out(trained: Json, client: Client) -> None:
    rows = [
        {"pages": 39, "source": "mail", "member": True, "first_seen": "2026-02-03"},
        {"source": "never heard of", "pages": 1},
        {},
    ]
    answer = client.predict(model="visitors", instances=rows, probabilities=True)
    assert (answer["model"], answer["version"]) == ("visitors", 2)
    assert answer["predictions"][:2] == ["yes", "no"]
    assert all(abs(sum(row) - 1) < 1e-6 and len(row) == 2 for row in answer["probabilities"])
    assert answer["request_id"]


def test_plain_rows_and_named_rows_give_the_same(trained: Json, client: Client) -> None:
    detail = client.call("GET", "/models/visitors/versions/2", 200)
    names = [column["name"] for column in detail["manifest"]["features"]["columns"]]
    named = {"pages": 22, "source": "ad", "first_seen": "2026-05-05", "member": False}
    plain = client.predict(model="visitors", instances=[[named[name] for name in names]], probabilities=True)
    by_name = client.predict(model="visitors", instances=[named], probabilities=True)
    assert plain["predictions"] == by_name["predictions"]
    assert plain["probabilities"] == by_name["probabilities"]


def test_a_version_can_be_asked_by_number_and_by_alias(trained: Json, client: Client) -> None:
    row = [{"pages": 3}]
    assert client.predict(model="visitors", version=1, instances=row)["version"] == 1
    assert client.predict(model="visitors", version="champion", instances=row)["version"] == 2
    problem = client.call("POST", "/predict", 404, json={"model": "visitors", "version": 99, "instances": row})
    assert problem["code"] == "version_not_found"


def test_models_and_versions_are_listed_with_metrics_and_lineage(trained: Json, client: Client) -> None:
    listed = {model["model"]: model for model in client.call("GET", "/models", 200)["models"]}
    assert listed["visitors"]["champion"] == 2
    detail = client.call("GET", "/models/visitors", 200)
    assert [version["version"] for version in detail["versions"]] == [2, 1]
    manifest = client.call("GET", "/models/visitors/versions/1", 200)["manifest"]
    assert manifest["dataset"]["id"] == trained["dataset"]["dataset_id"]
    assert manifest["estimator"] == "LogisticRegression"
    assert manifest["runtime"] in ("onnx", "skops")
    report = manifest["runtime_report"]
    assert report["reason"]
    assert set(report["speed"]["microseconds_by_rows"][manifest["runtime"]]) == {"1", "100", "10000"}


def test_rolling_back_serves_the_version_before_at_once(trained: Json, client: Client) -> None:
    state = client.call("POST", "/models/visitors/rollback", 200)
    assert (state["version"], state["previous"]) == (1, 2)
    assert {client.predict(model="visitors", instances=[{"pages": 5}])["version"] for _ in range(20)} == {1}
    client.call("PUT", "/models/visitors/aliases/champion", 200, json={"version": 2})
    assert {client.predict(model="visitors", instances=[{"pages": 5}])["version"] for _ in range(20)} == {2}


def test_a_new_champion_is_served_by_every_predictor_once_the_job_has_ended(client: Client) -> None:
    ask = {"model": "fresh", "dataset": {"sample": "iris"}, "target": "target", "promote": "always"}
    for version in (1, 2, 3):
        assert client.trained(**ask, estimator="GaussianNB")["version"] == version
        served = {client.predict(model="fresh", instances=[[5.1, 3.5, 1.4, 0.2]])["version"] for _ in range(30)}
        assert served == {version}


def test_an_event_stream_tells_a_training_from_start_to_end(client: Client) -> None:
    job_id = client.train(model="watched", dataset={"sample": "wine"}, target="target", validation={"folds": 5})
    events = list(client.events(job_id))
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert events[-1].name == "succeeded"
    fractions = [event.data["progress"]["fraction"] for event in events]
    assert fractions == sorted(fractions)
    assert len({*fractions}) >= 3, "progress moves"


def test_a_stream_goes_on_where_it_broke_off_from_either_replica(stack: Stack, client: Client) -> None:
    job_id = client.train(model="resumed", dataset={"sample": "iris"}, target="target", estimator="GaussianNB")
    whole = list(client.events(job_id))
    for address in stack.replicas:
        with Client(address, stack.key) as replica:
            rest = list(replica.events(job_id, last_event_id=whole[0].id))
        assert [(event.id, event.name) for event in rest] == [(event.id, event.name) for event in whole[1:]]


def test_a_running_training_is_cancelled_and_stays_so(client: Client) -> None:
    job_id = client.train(model="endless", dataset={"sample": "digits"}, target="target", **LONG)
    wait_until(lambda: client.job(job_id)["status"] == "running", "the training runs", 60)
    client.http.post(f"/jobs/{job_id}/cancel").raise_for_status()
    assert client.finished(job_id, 30)["status"] == "cancelled"
    again = client.call("POST", f"/jobs/{job_id}/cancel", 200)
    assert again["status"] == "cancelled"
    client.call("GET", "/models/endless", 404)


def test_both_replicas_tell_the_same_of_every_job(replicas: list[Client], trained: Json) -> None:
    jobs = replicas[0].call("GET", "/jobs?model=visitors", 200)["jobs"]
    assert len(jobs) == 2
    for job in jobs:
        assert [replica.job(job["job_id"]) for replica in replicas] == [job, job]


def test_an_unknown_job_is_unknown_to_both_replicas(replicas: list[Client], client: Client) -> None:
    for job_id in (uuid.uuid4().hex, "not-an-id"):
        for asked in (*replicas, client):
            answer = asked.http.get(f"/jobs/{job_id}")
            assert answer.status_code == 404
            assert answer.headers["content-type"].startswith("application/problem+json")
            assert answer.json()["code"] == "job_not_found"


def test_the_same_key_gives_the_same_job_on_either_replica(replicas: list[Client], client: Client) -> None:
    body = {"model": "once", "dataset": {"sample": "iris"}, "target": "target", "estimator": "GaussianNB"}
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    answers = [replica.http.post("/train", json=body, headers=headers) for replica in replicas * 2]
    assert {answer.status_code for answer in answers} == {202}
    job_ids = {answer.json()["job_id"] for answer in answers}
    assert len(job_ids) == 1
    assert client.finished(job_ids.pop())["result"]["version"] == 1


def test_rows_in_the_request_are_trained_on(client: Client) -> None:
    rows = [{"x": number, "y": "big" if number > 50 else "small"} for number in range(100)]
    client.trained(model="small", dataset={"rows": rows}, target="y", estimator="DecisionTreeClassifier")
    answer = client.predict(model="small", instances=[{"x": 3}, {"x": 97}])
    assert answer["predictions"] == ["small", "big"]


def test_a_table_that_cannot_be_trained_on_is_refused_with_what_to_change(client: Client) -> None:
    uploaded = client.upload(b"a,b\n1,same\n2,same\n3,same\n4,same\n5,same\n6,same\n7,same\n8,same\n")
    job = client.finished(client.train(model="no", dataset={"id": uploaded["dataset_id"]}, target="b"))
    assert (job["status"], job["error"]["code"]) == ("failed", "training_failed")
    assert job["attempts"] == 1
    assert len(job["error"]["message"]) > 20


def test_input_errors_name_the_place_and_what_is_allowed(client: Client) -> None:
    body = {"model": "x", "dataset": {"sample": "iris"}, "target": "target", "estimator": "NoSuchClassifier"}
    problem = client.call("POST", "/train", 422, json=body)
    assert problem["errors"][0]["at"] == "estimator"
    client.call("POST", "/predict", 400, content=b"{", headers={"Content-Type": "application/json"})
    client.call("POST", "/predict", 404, json={"model": "nobody", "instances": [[1]]})


def test_the_calls_are_documented_without_the_internet(client: Client) -> None:
    page = client.http.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text
    paths = client.call("GET", "/openapi.json", 200)["paths"]
    assert {"/train", "/predict", "/datasets", "/jobs/{job_id}/events", "/models/{model}/rollback"} <= paths.keys()


def test_the_readmes_table_can_be_trained_on(client: Client) -> None:
    uploaded = client.upload(CUSTOMERS.read_bytes())
    result = client.trained(model="churn", dataset={"id": uploaded["dataset_id"]}, target="left")
    assert result["metrics"]
    answer = client.predict(model="churn", instances=[{"age": 31, "plan": "basic"}])
    assert answer["predictions"][0] in ("yes", "no")
