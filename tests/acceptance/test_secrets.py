"""No key and no password leaves the place that is made for it, whatever the callers of a real stack do."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from deploy.native import credentials
from deploy.native.layout import Layout
from tests.acceptance.conftest import KNOWN
from tests.acceptance.stack import Client, Stack
from tests.rabbit import wait_until
from wire import topology

ROW = {"model": KNOWN, "instances": [[5.1, 3.5, 1.4, 0.2]]}
TRAINING = {"model": "m", "dataset": {"sample": "iris"}, "target": "target", "estimator": "Ridge"}
ABSENT = "canary-7f3a"
REQUEST_ID = "r-secrets"


@pytest.fixture(scope="module")
def secrets(guarded: Stack) -> dict[str, bytes]:
    """The secret half of the administrator's key, and every service's password for the broker."""
    passwords: dict[str, bytes] = {
        role: credentials.password_file(guarded.layout, role).read_bytes().strip() for role in topology.ROLES
    }
    known = {"key": guarded.key.split("_", 2)[2].encode(), **passwords}
    assert all(len(secret) >= 20 for secret in known.values())
    return known


@pytest.fixture(scope="module")
def answers(guarded: Stack) -> list[bytes]:
    """What the gateway says to calls with the key in the right place and in all the wrong ones."""
    key = guarded.key
    with Client(guarded.url, key) as client:
        told = [
            client.http.post("/predict", json=ROW, headers={"X-Request-ID": REQUEST_ID}),
            client.http.post("/predict", json={**ROW, "model": key}),
            client.http.post("/predict", json={"model": KNOWN, "instances": [[key]]}),
            client.http.post("/predict", json={"model": KNOWN, "instances": [{key: 1}]}),
            client.http.post("/predict", json={**ROW, key: 1}),
            client.http.post(f"/v1/models/{KNOWN}:predict", json={"inputs": {key: [1]}}),
            client.http.post(f"/v2/models/{KNOWN}/infer", json={"inputs": [tensor(key), tensor("other")]}),
            client.http.post("/predict", content=f'{{"model": "{key}"', headers={"Content-Type": "application/json"}),
            client.http.post("/train", json={"model": "m", "dataset": {"id": key}, "target": key}),
            client.http.post("/train", json={**TRAINING, "params": {key: 1}}),
            client.http.post("/train", json={**TRAINING, "search": {"space": {key: [1]}}}),
            client.http.get("/jobs", headers={"Authorization": f"Bearer {key}x"}),
            client.http.get("/jobs", headers={"Authorization": key}),
            client.http.get("/models", params={"api_key": key}),
            client.http.get("/models", headers={"X-API-Key": key, "Content-Type": key, "Accept": key}),
            client.http.delete("/predict"),
            client.http.get("/keys"),
            client.http.get("/audit"),
            client.http.get("/diagnosis"),
        ]
    refused = {answer.status_code for answer in told} - {200, 201}
    assert {400, 401, 405, 422} <= refused, refused
    return [answer.content + str(answer.headers).encode() for answer in told]


def tensor(name: str) -> dict[str, object]:
    """One cell of a column of this name."""
    return {"name": name, "shape": [1], "datatype": "FP64", "data": [1.0]}


def found(secrets: dict[str, bytes], places: dict[str, bytes]) -> list[str]:
    """Which secret is where."""
    return [
        f"{name} in {place}" for place, text in places.items() for name, secret in secrets.items() if secret in text
    ]


def metrics(stack: Stack) -> dict[str, bytes]:
    """What each service tells about itself, by its name."""
    names = [name for name in stack.processes() if name not in ("epmd", "broker", "nginx")]
    addresses = {name: f"http://127.0.0.1:{stack.block.metrics(name)}/metrics" for name in names}
    return {name: httpx.get(address, timeout=10, trust_env=False).content for name, address in addresses.items()}


def processes(pids: list[int]) -> dict[str, bytes]:
    """The command and the environment of each process, as everybody of its user sees them."""
    files = [Path(f"/proc/{pid}/{name}") for pid in pids for name in ("cmdline", "environ")]
    return {str(file): read(file) for file in files}


def stored(layout: Layout) -> dict[str, bytes]:
    """Every file of the stack's home: its logs, its ledger, its broker, what would be in a backup of it."""
    files = (file for file in layout.home.rglob("*") if file.is_file() and not file.is_symlink())
    return {str(file): read(file) for file in files if layout.secrets not in file.parents}


def read(file: Path) -> bytes:
    """What a file holds; nothing when it, or its process, has just gone."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_no_secret_is_in_an_answer(secrets: dict[str, bytes], answers: list[bytes]) -> None:
    assert not found(secrets, {str(number): answer for number, answer in enumerate(answers)})


def test_no_refusal_repeats_a_name_that_is_legal(guarded: Stack) -> None:
    with Client(guarded.url, guarded.key) as client:
        told = [
            client.http.post("/predict", json={**ROW, "model": ABSENT}),
            client.http.post("/predict", json={**ROW, "version": ABSENT}),
            client.http.post("/batch-predictions", json={"model": ABSENT, "dataset": {"id": "0" * 32}}),
            client.http.get(f"/models/{ABSENT}"),
            client.http.delete(f"/models/{ABSENT}"),
            client.http.post(f"/models/{ABSENT}/rollback"),
            client.http.delete(f"/models/{KNOWN}/aliases/{ABSENT}"),
            client.http.get(f"/v2/models/{ABSENT}"),
            client.http.post(f"/v2/models/{ABSENT}/infer", json={"inputs": [tensor("x")]}),
            client.http.get(f"/v1/models/{ABSENT}"),
            client.http.get(f"/v1/models/{KNOWN}/labels/{ABSENT}"),
            client.http.post(f"/mlflow/{ABSENT}/invocations", json={"instances": [[1]]}),
        ]
    assert {answer.status_code for answer in told} <= {404, 409, 422}
    assert not [answer.text for answer in told if ABSENT in f"{answer.headers}{answer.text}"]


def test_no_secret_is_in_a_metric_of_any_process(
    guarded: Stack, secrets: dict[str, bytes], answers: list[bytes]
) -> None:
    told = metrics(guarded)
    assert {"api-1", "api-2", "worker", "trainer", "predictor-1", "predictor-2"} <= told.keys()
    assert b"warren_keys_refused_total" in told["api-1"] + told["api-2"], answers
    assert not found(secrets, told)


def test_no_secret_is_in_the_process_list(guarded: Stack, secrets: dict[str, bytes], answers: list[bytes]) -> None:
    seen = processes(guarded.left())
    everything = b"".join(seen.values())
    assert b"api.serve" in everything, answers
    assert str(guarded.layout.secrets).encode() in everything, "the environments can be read"
    assert not found(secrets, seen)


def test_no_secret_is_in_a_log_or_any_other_file(
    guarded: Stack, secrets: dict[str, bytes], answers: list[bytes]
) -> None:
    def logged() -> bytes:
        return b"".join(read(file) for file in guarded.layout.logs.rglob("*") if file.is_file())

    wait_until(lambda: REQUEST_ID.encode() in logged(), f"the calls are in the logs: {answers}")
    kept = stored(guarded.layout)
    assert guarded.key.split("_")[1].encode() in b"".join(kept.values()), "the ledger knows the key by its prefix"
    assert not found(secrets, kept)
