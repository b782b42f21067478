"""Uploads through a real HTTP server: streamed, named, described, refused, deleted."""

from __future__ import annotations

import hashlib
import random
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.jobs.replica import BODY, CSV, TYPE, Replica, data_files, fields
from tests.integration.jobs.trainer_double import TrainerDouble
from tests.rabbit import wait_until
from wire import errors, messages, settings


def test_upload_is_described_by_a_trainer_and_named_by_its_content(
    client: httpx.Client, trainer: TrainerDouble, config: settings.Settings
) -> None:
    answer = client.post("/datasets", content=CSV + b"3,z\n", headers=TYPE)
    assert answer.status_code == 201
    told = answer.json()
    assert told["dataset_id"] == hashlib.sha256(CSV + b"3,z\n").hexdigest()[:32]
    assert (told["rows"], told["format"], told["size_bytes"]) == (2, "csv", len(CSV) + 4)
    assert told["columns"][0] == {"name": "a", "type": "number", "missing": 0, "distinct": 2}
    again = client.post("/datasets", content=CSV + b"3,z\n", headers=TYPE)
    assert again.json() == told
    assert client.get(answer.headers["location"]).json() == told
    assert told in client.get("/datasets").json()["datasets"]
    assert (config.paths.datasets / told["dataset_id"] / "data.csv").read_bytes() == CSV + b"3,z\n"
    assert client.post("/train", json={**BODY, "dataset": {"id": told["dataset_id"]}}).status_code == 202
    wrong = client.post("/train", json={**BODY, "dataset": {"id": told["dataset_id"]}, "target": "nope"})
    assert (wrong.status_code, fields(wrong)) == (422, ["target"])


def test_upload_no_trainer_can_read_is_refused_and_not_kept(
    client: httpx.Client, trainer: TrainerDouble, config: settings.Settings
) -> None:
    def refuse(_: str) -> messages.DatasetProfile:
        raise errors.BadInput("Line 3 has another number of cells.", hint="Quote cells with separators.")

    trainer.profile = refuse
    before = data_files(config)
    answer = client.post("/datasets", content=b"a,b\n1\n", headers=TYPE)
    assert answer.status_code == 422
    assert (answer.json()["detail"], answer.json()["hint"]) == (
        "Line 3 has another number of cells.",
        "Quote cells with separators.",
    )
    assert data_files(config) == before


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", "text/csv", 422),
        (CSV, "application/json", 415),
        (CSV, "application/octet-stream", 415),
        (b"PAR1" + b"x" * 20, "application/vnd.apache.parquet", 415),
        (b"PAR1" + b"x" * 20 + b"PAR1", "text/csv", 415),
        (b"PK\x03\x04 a workbook", "text/csv", 415),
        (b"x" * (64 * 1024 * 1024 + 1), "text/csv", 413),
    ],
    ids=["empty", "json", "csv as bytes", "torn parquet", "parquet as csv", "workbook", "too large"],
)
def test_uploads_that_are_no_tables_are_refused_and_leave_nothing(
    client: httpx.Client, config: settings.Settings, content: bytes, content_type: str, status: int
) -> None:
    before = data_files(config)
    answer = client.post("/datasets", content=content, headers={"content-type": content_type})
    assert answer.status_code == status
    assert data_files(config) == before


def test_parquet_is_taken_by_either_type(client: httpx.Client, trainer: TrainerDouble) -> None:
    for number, media in enumerate(("application/vnd.apache.parquet", "application/octet-stream")):
        content = b"PAR1" + bytes([number]) * 20 + b"PAR1"
        answer = client.post("/datasets", content=content, headers={"content-type": media})
        assert (answer.status_code, answer.json()["format"]) == (201, "parquet")


def test_chunked_upload_over_the_limit_is_cut_off(client: httpx.Client, config: settings.Settings) -> None:
    before = data_files(config)

    def pieces() -> Iterator[bytes]:
        for _ in range(70):
            yield b"x" * 1024 * 1024

    try:
        status = client.post("/datasets", content=pieces(), headers=TYPE).status_code
    except httpx.WriteError:
        status = 413  # the server answered and closed while we were still sending
    assert status == 413
    assert data_files(config) == before


def test_upload_that_breaks_off_leaves_nothing(replicas: list[Replica], config: settings.Settings) -> None:
    before = data_files(config)
    url = httpx.URL(replicas[0].url)
    with socket.create_connection((url.host, url.port or 0)) as connection:
        connection.sendall(
            b"POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 9000000\r\n\r\n"
        )
        connection.sendall(b"a,b\n" * 1_000_000)
        wait_until(lambda: data_files(config) > before, "the draft is being written")
    wait_until(lambda: data_files(config) == before, "the draft is gone")


def test_large_upload_is_streamed_in_bounded_memory(
    replicas: list[Replica], config: settings.Settings, trainer: TrainerDouble
) -> None:
    client = replicas[0].client
    client.post("/datasets", content=b"warm,up\n1,2\n", headers=TYPE)
    block = random.Random(7).randbytes(512 * 1024).hex().encode()
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def pieces() -> Iterator[bytes]:
        for _ in range(60):
            yield block

    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(lambda: client.post("/datasets", content=pieces(), headers=TYPE))
        slowest = max(replicas[0].client.get("/livez").elapsed.total_seconds() for _ in range(20))
        answer = uploading.result(60)
    assert answer.status_code == 201
    assert answer.json()["dataset_id"] == hashlib.sha256(block * 60).hexdigest()[:32]
    assert slowest < 5
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_before) / 1024
    assert grown_mib < 40, "60 MiB went through, so it was not held"


def test_deleted_dataset_is_gone_with_its_file(
    client: httpx.Client, config: settings.Settings, trainer: TrainerDouble
) -> None:
    told = client.post("/datasets", content=CSV + b"5,gone\n", headers=TYPE).json()
    path = f"/datasets/{told['dataset_id']}"
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == client.delete(path).status_code == 404
    assert client.get("/datasets/nonsense").status_code == client.delete("/datasets/nonsense").status_code == 404
    assert not (config.paths.datasets / told["dataset_id"]).exists()


def test_datasets_are_listed_by_pages(client: httpx.Client, trainer: TrainerDouble) -> None:
    for number in range(3):
        client.post("/datasets", content=CSV + f"{number},page\n".encode(), headers=TYPE)
    whole = [one["dataset_id"] for one in client.get("/datasets").json()["datasets"]]
    paged: list[str] = []
    cursor = None
    while True:
        page = client.get("/datasets", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        paged += [one["dataset_id"] for one in page["datasets"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == whole
    assert client.get("/datasets", params={"cursor": "x"}).status_code == 422


def test_full_disk_is_507_and_leaves_nothing(
    client: httpx.Client, config: settings.Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    before = data_files(config)
    monkeypatch.setattr("api.datasets.receiving.Draft", _on(full))
    answer = client.post("/datasets", content=CSV * 100_000, headers=TYPE)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert data_files(config) == before


def _on(device: Path) -> Any:
    from api.datasets.receiving import Draft

    class OnDevice(Draft):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self._file.close()
            self._file = device.open("wb")

    return OnDevice
