"""Every call of both clients: the method and path it sends, and the object it gives."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import warren
from tests.unit.warren.gateway import ACCEPTED, JOB, PREDICTED, Answer, ScriptedGateway, ok, problem
from tests.unit.warren.served import MODEL, VERSION
from tests.unit.warren.told import ALIAS, DATASET, KEY
from warren.command import main

GONE = Answer(204, b"")
KEYS = ok({"keys": [KEY], "next_cursor": None})
DIAGNOSIS = ok({"status": "ok", "at": "2026-11-22T10:00:00Z", "checks": []})
CALLS: list[tuple[str, tuple[Any, ...], Answer, str]] = [
    ("predict", ("m", [[1]]), PREDICTED, "POST /predict"),
    ("predict_json", ("m", b"[[1]]"), PREDICTED, "POST /predict"),
    ("served", ("m",), ok(MODEL), "GET /models/m"),
    ("dataset", ("d" * 32,), ok(DATASET), f"GET /datasets/{'d' * 32}"),
    ("datasets", (5, "next"), ok({"datasets": [], "next_cursor": None}), "GET /datasets?limit=5&cursor=next"),
    ("delete_dataset", ("d" * 32,), GONE, f"DELETE /datasets/{'d' * 32}"),
    ("job", ("a" * 32,), ok(JOB), f"GET /jobs/{'a' * 32}"),
    ("jobs", ("m", "failed"), ok({"jobs": [], "next_cursor": None}), "GET /jobs?model=m&status=failed&limit=50"),
    ("models", (), ok({"models": []}), "GET /models"),
    ("model", ("m/../x",), ok(MODEL), "GET /models/m%2F..%2Fx"),
    ("version", ("m", 3), ok(VERSION), "GET /models/m/versions/3"),
    ("set_alias", ("m", "canary", 3, 2), ok(ALIAS), "PUT /models/m/aliases/canary"),
    ("delete_alias", ("m", "canary"), GONE, "DELETE /models/m/aliases/canary"),
    ("rollback", ("m",), ok(ALIAS), "POST /models/m/rollback"),
    ("delete_version", ("m", 3), GONE, "DELETE /models/m/versions/3"),
    ("delete_model", ("m",), GONE, "DELETE /models/m"),
    ("keys", (), KEYS, "GET /keys?limit=50"),
    ("create_key", ("ann", ["predict"], 3, 2.5), ok({**KEY, "key": "wk_x"}, 201), "POST /keys"),
    ("revoke_key", ("k3v09xqa",), GONE, "DELETE /keys/k3v09xqa"),
    ("diagnosis", (), DIAGNOSIS, "GET /diagnosis"),
    ("readiness", (), ok({"status": "not ready", "reasons": {"x": "y"}}, 503), "GET /readyz"),
]


@pytest.mark.parametrize(("name", "arguments", "answer", "sent"), CALLS, ids=[call[0] for call in CALLS])
async def test_a_call_is_the_same_from_both_clients(
    name: str, arguments: tuple[Any, ...], answer: Answer, sent: str
) -> None:
    with ScriptedGateway(answer) as gateway:
        with warren.Client(gateway.url) as client:
            told = getattr(client, name)(*arguments)
        async with warren.AsyncClient(gateway.url) as other:
            again = await getattr(other, name)(*arguments)
        assert [f"{asked.method} {asked.path}" for asked in gateway.asked] == [sent, sent]
        assert gateway.asked[0].body == gateway.asked[1].body
        assert gateway.url == client.url == other.url
    if name == "job":
        told, again = told.view, again.view
    assert told == again


def test_every_method_is_among_them() -> None:
    methods = {name for name, _ in inspect.getmembers(warren.AsyncClient, inspect.isfunction) if name[0] != "_"}
    elsewhere = {"close", "train", "upload", "predict_batches", "predict_dataset"}
    assert {call[0] for call in CALLS} | elsewhere == methods


async def test_a_key_is_made_with_a_rate_without_one_or_as_the_setting_says() -> None:
    answer = ok({**KEY, "key": "wk_x"}, 201)
    with ScriptedGateway(answer) as gateway, warren.Client(gateway.url) as client:
        for rate_per_s in (None, 2.5, math.inf):
            client.create_key("ann", ["predict"], rate_per_s=rate_per_s)
        assert main(["keys", "create", "ann", "--scope", "predict", "--rate", "none", "--url", gateway.url]) == 0
        async with warren.AsyncClient(gateway.url) as other:
            await other.create_key("ann", ["predict"], rate_per_s=math.inf)
        asked = {"owner": "ann", "scopes": ["predict"]}
        bodies = [asked, {**asked, "rate_per_s": 2.5}, *[{**asked, "rate_per_s": None}] * 3]
        assert [request.json for request in gateway.asked] == bodies
        for rate_per_s in (math.nan, -math.inf, 0.0):
            with pytest.raises(ValueError, match="above 0"):
                client.create_key("ann", ["predict"], rate_per_s=rate_per_s)
        assert len(gateway.asked) == len(bodies)


def test_an_alias_that_is_not_there_is_not_found() -> None:
    with ScriptedGateway(ok(MODEL)) as gateway, warren.Client(gateway.url) as client:
        with pytest.raises(warren.NotFound) as caught:
            client.served("m", "canary")
        assert caught.value.code == "alias_not_found"


async def test_files_and_frames_are_uploaded_from_both_clients(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("note\n" + "x\n" * 400_000)
    sent: list[int] = []
    frames = (pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]}))
    with ScriptedGateway(ok(DATASET, 201)) as gateway:
        with warren.Client(gateway.url) as client:
            for data in (file, *frames):
                assert client.upload(data).dataset_id == "d" * 32
        async with warren.AsyncClient(gateway.url) as other:
            assert (await other.upload(str(file), sent.append)).rows == 2
            for frame in frames:
                await other.upload(frame)
        kinds = [asked.headers["content-type"].rpartition("/")[2] for asked in gateway.asked]
        assert kinds == ["csv", "vnd.apache.parquet", "vnd.apache.parquet"] * 2
        assert gateway.asked[0].body == gateway.asked[3].body == file.read_bytes()
        assert all(asked.body[:4] == b"PAR1" for asked in gateway.asked if "parquet" in asked.headers["content-type"])
    assert len(sent) > 2
    assert sum(sent) == file.stat().st_size


async def test_an_upload_is_predicted_as_a_job_whose_output_is_saved(tmp_path: Path) -> None:
    content = Answer(200, b"PAR1", {"content-type": "application/vnd.apache.parquet"})
    frame = pd.DataFrame({"a": [1]})
    with ScriptedGateway(ok(DATASET, 201), ACCEPTED, content) as gateway, warren.Client(gateway.url) as client:
        job = client.predict_dataset("m", frame, version="canary", columns=["a"])
        job.save(tmp_path / "out.parquet")
        assert job.view.kind == "predict"
        assert gateway.asked[1].json == {
            "model": "m",
            "dataset": {"id": "d" * 32},
            "version": "canary",
            "probabilities": False,
            "columns": ["a"],
        }
        assert gateway.asked[1].headers["idempotency-key"]
        assert gateway.asked[2].path == f"/jobs/{'a' * 32}/output?format=parquet"
    with ScriptedGateway(ACCEPTED, content, problem(404, "not_found")) as gateway:
        async with warren.AsyncClient(gateway.url) as other:
            again = await other.predict_dataset("m", {"id": "d" * 32}, probabilities=True, columns="all")
            await again.save(str(tmp_path / "out.csv"))
            with pytest.raises(warren.NotFound):
                await again.save(tmp_path / "other.csv")
        assert gateway.asked[1].path.endswith("?format=csv")
    assert contents(tmp_path) == {"out.parquet": b"PAR1", "out.csv": b"PAR1"}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_frame_is_uploaded_as_csv_where_nothing_writes_parquet(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_arguments: object, **_named: object) -> None:
        raise ImportError

    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    with ScriptedGateway(ok(DATASET, 201)) as gateway, warren.Client(gateway.url) as client:
        client.upload(pd.DataFrame({"a": [1, None], "b": ["x", "y"]}))
        assert gateway.asked[0].body == b"a,b\n1.0,x\n,y\n"
        assert gateway.asked[0].headers["content-type"] == "text/csv"


def test_what_can_be_trained_on() -> None:
    rows = [{"a": 1, "b": "x"}]
    dataset = {"dataset_id": "d" * 32, "format": "csv", "size_bytes": 1, "created_at": "", "rows": None}
    uploaded = warren.Dataset(**dataset, columns=None)
    choices: list[tuple[Any, Any]] = [
        (rows, {"rows": rows}),
        (uploaded, {"id": "d" * 32}),
        ({"sample": "iris"}, {"sample": "iris"}),
        ({"id": "e" * 32}, {"id": "e" * 32}),
    ]
    for data, sent in choices:
        with ScriptedGateway(ACCEPTED) as gateway, warren.Client(gateway.url) as client:
            client.train("m", data, "b", params={"n": 1}, validation={"folds": 3}, search={"space": {}})
            assert gateway.asked[0].json["dataset"] == sent
            assert gateway.asked[0].json["validation"] == {"folds": 3}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([[1, 2]], "need names"),
        ([], "no rows"),
        ([{"a": "x" * 9_000_000}], "over 8 MiB"),
        ("table.xlsx", "neither CSV nor Parquet"),
        (3, "not a int"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_anything_is_sent(data: Any, said: str) -> None:
    with ScriptedGateway(ACCEPTED) as gateway, warren.Client(gateway.url) as client:
        with pytest.raises(warren.InvalidRows, match=said):
            client.train("m", data, "b")
        assert gateway.asked == []
    with warren.Client("http://127.0.0.1:1") as client, pytest.raises(warren.InvalidRows, match="Give a path"):
        client.upload(3)


async def test_many_rows_are_predicted_in_parts_by_both_clients() -> None:
    rows = [[number] for number in range(5)]
    with ScriptedGateway(ok(MODEL), PREDICTED) as gateway, warren.Client(gateway.url) as client:
        assert [answer.version for answer in client.predict_batches("m", rows, batch_rows=2)] == [3, 3, 3]
        assert sorted(str(asked.json["instances"]) for asked in gateway.asked[1:]) == [
            "[[0], [1]]",
            "[[2], [3]]",
            "[[4]]",
        ]
        assert {asked.json["version"] for asked in gateway.asked[1:]} == {3}
    with ScriptedGateway(ok(MODEL), PREDICTED) as gateway:
        async with warren.AsyncClient(gateway.url) as other:
            batches = other.predict_batches("m", rows, batch_rows=2, in_flight=2)
            assert [answer.version async for answer in batches] == [3, 3, 3]
    with ScriptedGateway(PREDICTED, problem(422, "bad_input")) as gateway:
        async with warren.AsyncClient(gateway.url) as other:
            with pytest.raises(warren.InvalidRequest):
                async for _ in other.predict_batches("m", iter(rows), version=3, batch_rows=1, in_flight=3):
                    pass


async def test_jobs_are_cancelled_and_answers_that_are_too_large_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedGateway(ok(JOB)) as gateway:
        async with warren.AsyncClient(gateway.url) as client:
            assert (await (await client.job("a" * 32)).cancel()).status == "running"
    monkeypatch.setattr("warren.connection.MAX_ANSWER_BYTES", 10)
    with (
        ScriptedGateway(ok(JOB)) as gateway,
        warren.Client(gateway.url) as client,
        pytest.raises(warren.UnexpectedAnswer, match="larger"),
    ):
        client.job("a" * 32)
