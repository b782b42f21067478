"""The Python client, and the ``warren`` command as a person runs it, against a real stack."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import warren
from tests.acceptance.stack import Stack
from tests.acceptance.test_journey import CUSTOMERS, LONG
from tests.rabbit import wait_until
from tests.source_tree import CHECKOUT

Run = Callable[..., subprocess.CompletedProcess[str]]
LONG_TRAINING = [f"--param={name}={value}" for name, value in LONG["params"].items()]


@pytest.fixture(scope="module")
def command(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the command; what it must exit with is ``status``."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WARREN_")},
        "WARREN_URL": stack.url,
        "WARREN_API_KEY": stack.key,
        "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("config")),
    }

    def run(*arguments: object, status: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "warren", *map(str, arguments)],
            cwd=CHECKOUT,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done

    return run


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[warren.Client]:
    with warren.Client(stack.url, stack.key) as client:
        yield client


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.read_csv(CUSTOMERS, parse_dates=["customer_since"])


@pytest.fixture(scope="module")
def first(client: warren.Client, frame: pd.DataFrame) -> tuple[warren.JobResult, list[float]]:
    """Version 1 of the model ``shop``, trained by the client on a frame, and the progress that was heard."""
    heard: list[float] = []
    job = client.train("shop", frame, "left", estimator="LogisticRegression")
    return job.wait(100, on_progress=lambda progress: heard.append(progress.fraction)), heard


@pytest.fixture(scope="module")
def shop(command: Run, first: tuple[warren.JobResult, list[float]]) -> subprocess.CompletedProcess[str]:
    """Version 2, trained by the command on the file."""
    ask = ["train", CUSTOMERS, "--model", "shop", "--target", "left", "--estimator", "DecisionTreeClassifier"]
    return command(*ask, "--param", "max_depth=4", "--promote", "always")


def test_a_training_by_the_client_is_heard_and_judged(
    client: warren.Client, first: tuple[warren.JobResult, list[float]]
) -> None:
    result, heard = first
    assert (result.model, result.version, result.promoted) == ("shop", 1, True)
    assert result.metrics["accuracy"] > 0.5
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    detail = client.version("shop", 1)
    types = {feature.name: feature.type for feature in detail.features}
    assert (types["customer_since"], types["paperless"]) == ("date", "boolean")
    assert detail.classes == ["no", "yes"]


def test_a_training_by_the_command_tells_what_it_saw_and_made(shop: subprocess.CompletedProcess[str]) -> None:
    assert "monthly_spend   number" in shop.stderr
    assert "Training shop: job " in shop.stderr
    assert shop.stdout.startswith("shop, version 2: the champion.")
    assert "METRIC" in shop.stdout
    assert "\x1b" not in shop.stdout + shop.stderr, "no progress where nobody looks"


@pytest.mark.usefixtures("shop")
def test_every_kind_of_table_is_predicted_the_same(client: warren.Client, frame: pd.DataFrame) -> None:
    features = frame.drop(columns="left")
    tables: dict[str, Any] = {
        "pandas": features,
        "polars": pl.read_csv(CUSTOMERS.read_bytes(), try_parse_dates=True).drop("left"),
        "dicts": [{name: row[name] for name in features.columns} for _, row in features.iterrows()],
        "array": features.to_numpy(dtype=object),
    }
    answers = {kind: client.predict("shop", table, version=1, probabilities=True) for kind, table in tables.items()}
    for kind, answer in answers.items():
        assert answer.predictions == answers["pandas"].predictions, kind
        assert answer.probabilities == answers["pandas"].probabilities, kind
    parts = list(client.predict_batches("shop", features, version=1, batch_rows=150, in_flight=2))
    assert [len(part.predictions) for part in parts] == [150, 150, 100]
    assert [each for part in parts for each in part.predictions] == answers["pandas"].predictions


@pytest.mark.usefixtures("shop")
def test_a_bad_cell_is_named_by_its_row_and_column(client: warren.Client) -> None:
    with pytest.raises(warren.InvalidRequest) as caught:
        client.predict("shop", [{"age": 1}, {"age": "x"}])
    assert caught.value.field == "instances[1].age"
    assert caught.value.request_id


async def test_the_asynchronous_client_trains_predicts_and_cleans_up(stack: Stack) -> None:
    draw = random.Random(3)
    rows = [{"x": x, "big": "yes" if x > 0.5 else "no"} for x in (draw.random() for _ in range(60))]
    async with warren.AsyncClient(stack.url, stack.key) as client:
        job = await client.train("asked", rows, "big", estimator="DecisionTreeClassifier")
        assert (await job.wait(100)).version == 1
        assert (await client.predict("asked", np.array([[0.01], [0.99]]))).predictions == ["no", "yes"]
        batches = client.predict_batches("asked", [{"x": n / 100} for n in range(100)], batch_rows=30)
        assert [len(batch.predictions) async for batch in batches] == [30, 30, 30, 10]
        moved = await client.set_alias("asked", "shadow", 1, expected=0)
        assert (moved.version, moved.previous) == (1, 0)
        with pytest.raises(warren.Conflict):
            await client.delete_version("asked", 1)
        await client.delete_model("asked")
        with pytest.raises(warren.NotFound) as caught:
            await client.model("asked")
        assert caught.value.code == "model_not_found"


def test_an_upload_is_streamed_heard_and_found_again(client: warren.Client) -> None:
    sent: list[int] = []
    uploaded = client.upload(CUSTOMERS, sent.append)
    assert sum(sent) == CUSTOMERS.stat().st_size == uploaded.size_bytes
    assert client.dataset(uploaded.dataset_id).rows == 400
    assert uploaded.dataset_id in {one.dataset_id for one in client.datasets(200).datasets}
    assert client.upload(str(CUSTOMERS)).dataset_id == uploaded.dataset_id
    assert client.upload(pl.read_csv(CUSTOMERS.read_bytes())).format == "parquet"


def test_the_same_key_is_the_same_job(client: warren.Client) -> None:
    ask: dict[str, Any] = {"estimator": LONG["estimator"], "params": LONG["params"], "key": "one"}
    first = client.train("twice", {"sample": "digits"}, "target", **ask)
    assert client.train("twice", {"sample": "digits"}, "target", **ask).id == first.id
    first.cancel()
    with pytest.raises(warren.JobCancelled):
        first.wait(60)
    assert [job.status for job in client.jobs("twice").jobs] == ["cancelled"]


@pytest.mark.usefixtures("shop")
def test_models_and_versions_are_shown(command: Run) -> None:
    listed = json.loads(command("models", "--json").stdout)["models"]
    assert {"model": "shop", "champion": 2, "versions": 2, "latest": 2} in listed
    lines = command("versions", "shop").stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["2", "champion"], ["1", "-"]]
    assert "customer_since  date" in command("versions", "shop", 1).stdout


@pytest.mark.usefixtures("shop")
def test_a_file_is_predicted_row_by_row_and_bad_rows_are_named(
    command: Run, client: warren.Client, tmp_path: Path
) -> None:
    rows = list(csv.DictReader(io.StringIO(CUSTOMERS.read_text())))
    table, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows([*rows[:150], rows[150] | {"age": "very old"}, *rows[151:]])
    said = command("predict", "shop", table, "-o", out, "--rows", 100, "--probabilities", status=1).stderr
    assert "line 152: age must be a number" in said
    assert "399 rows predicted by shop, version 2" in said
    written = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["customer_since"] for row in written] == [row["customer_since"] for row in rows]
    assert written[150]["prediction"] == ""
    good = [row for row in written if row["prediction"]]
    named = [{name: cell or None for name, cell in row.items() if name != "left"} for row in rows]
    del named[150]
    truth = client.predict("shop", named, version=2, probabilities=True)
    assert [row["prediction"] for row in good] == truth.predictions
    shares = [[float(row["probability_no"]), float(row["probability_yes"])] for row in good]
    assert shares == truth.probabilities


@pytest.mark.usefixtures("shop")
def test_rows_come_from_standard_input_too(command: Run) -> None:
    lines = '{"age": 31, "plan": "basic", "support_calls": 4}\n{"age": 58, "support_calls": 0}\n'
    answers = [json.loads(line) for line in command("predict", "shop", stdin=lines).stdout.splitlines()]
    assert [answer["age"] for answer in answers] == [31, 58]
    assert {answer["prediction"] for answer in answers} <= {"yes", "no"}


@pytest.mark.usefixtures("shop")
def test_an_upload_is_predicted_at_the_gateway(
    command: Run, client: warren.Client, frame: pd.DataFrame, tmp_path: Path
) -> None:
    uploaded = client.upload(CUSTOMERS)
    out = tmp_path / "out.csv"
    ask = ["predict", "shop", "--dataset", uploaded.dataset_id, "--version", 1]
    said = command(*ask, "-o", out, "--probabilities")
    assert "400 rows predicted by shop, version 1." in said.stdout
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    live = client.predict("shop", frame.drop(columns="left"), version=1)
    assert [row["prediction"] for row in rows] == live.predictions
    job = client.predict_dataset("shop", uploaded, version=1, columns=["city"])
    assert job.wait(60).rows == 400
    job.save(tmp_path / "out.parquet")
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["prediction"].to_list() == live.predictions
    assert table["city"].null_count() > 0
    command("output", job.id, "-o", out)


@pytest.mark.usefixtures("shop")
def test_aliases_and_rollbacks_change_who_predicts(command: Run) -> None:
    command("alias", "shop", "shadow", 1)
    rolled = json.loads(command("rollback", "shop", "--json").stdout)
    assert (rolled["version"], rolled["previous"]) == (1, 2)
    assert "version 1" in command("predict", "shop", stdin='{"age": 31}').stderr
    command("alias", "shop", "champion", 2, "--if-now", 1)
    assert "version 1" in command("predict", "shop", "--version", "shadow", stdin='{"age": 31}').stderr
    command("delete", "shop", 1, "--yes", status=3)
    command("alias", "shop", "shadow", "--delete")


def test_a_training_is_left_watched_and_cancelled(command: Run, client: warren.Client) -> None:
    ask = ["train", "--sample", "digits", "--model", "lasting", "--estimator", LONG["estimator"], *LONG_TRAINING]
    job_id = command(*ask, "--detach").stdout.strip()
    wait_until(lambda: client.job(job_id).status == "running", "the training runs", 60)
    assert job_id in command("jobs", "lasting", "--status", "running").stdout
    command("cancel", job_id)
    assert "cancelled" in command("watch", job_id, status=1).stderr
    events = [json.loads(line) for line in command("watch", job_id, "--json", status=1).stdout.splitlines()]
    assert events[-1]["event"] == "cancelled"


def test_keys_are_made_and_ended(command: Run) -> None:
    made = json.loads(command("keys", "create", "shopkeeper", "--scope", "predict", "--days", 1, "--json").stdout)
    assert made["key"].startswith(f"wk_{made['prefix']}_")
    command("keys", "revoke", made["prefix"])
    state = next(
        key["state"] for key in json.loads(command("keys", "list", "--json").stdout)["keys"]
        if key["prefix"] == made["prefix"]
    )  # fmt: skip
    assert state == "revoked"


def test_the_doctor_finds_a_healthy_stack_healthy(command: Run) -> None:
    told = json.loads(command("doctor", "--json").stdout)
    found = {check["name"]: check for check in told["checks"]}
    assert {check["status"] for check in found.values()} <= {"ok", "warning"}
    # A warning may be about the disk of whoever runs this, and how busy the machine is, and nothing else.
    warned = {name for name, check in found.items() if check["status"] != "ok"}
    assert warned <= {"datasets folder", "model volume", "gateway", "ledger"}
    assert {"gateway", "this clock", "nginx", "broker", "ledger", "workers", "model volume"} <= found.keys()
    assert len([name for name in found if name.startswith("predictor ")]) == 2
    text = command("doctor").stdout
    assert "-> " not in text or "WARNING" in text


@pytest.mark.usefixtures("shop")
def test_what_is_refused_says_the_next_step(command: Run) -> None:
    assert "warren models" in command("predict", "nobody", stdin='{"a": 1}', status=3).stderr
    refused = json.loads(command("alias", "shop", "champion", 99, "--json", status=3).stderr)
    assert refused["code"] == "version_not_found"
    assert "WARREN_URL" in command("models", "--url", "http://127.0.0.1:1", status=5).stderr
    command("train", "--model", "x", status=2)


@pytest.mark.usefixtures("shop")
def test_a_shell_completes_names_of_models(command: Run, stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "warren").write_text(f'#!/bin/sh\nexec {sys.executable} -m warren "$@"\n')
    (tmp_path / "warren").chmod(0o755)
    script = (
        'eval "$(warren completion bash)"; COMP_WORDS=(warren versions sho); COMP_CWORD=2; '
        '_warren_completion warren; echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(CHECKOUT)}
    environment |= {"WARREN_URL": stack.url, "WARREN_API_KEY": stack.key}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["shop"], done.stderr
