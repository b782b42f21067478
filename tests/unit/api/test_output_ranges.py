"""A part of a job's output, and what is answered where there is no such part."""

from __future__ import annotations

import httpx
import pytest

from api.ledger.leases import Ended
from api.offline.folder import CSV, OutputFolder
from api.state import State
from tests.jobs import new_job

TEXT = "prediction\n1.5\n"


@pytest.fixture
def output(state: State) -> str:
    """The path of the output of a job that has succeeded."""
    job_id = state.ledger.jobs.accept(new_job(kind="predict"), queued_limit=9).job_id
    taken = state.ledger.leases.take(job_id, "w")
    assert taken is not None
    state.ledger.leases.finish(job_id, taken.epoch, Ended("succeeded", result={"rows": 1}))
    file = OutputFolder(state.settings.paths.predictions).file(job_id, CSV)
    file.parent.mkdir(parents=True)
    file.write_text(TEXT)
    return f"/jobs/{job_id}/output"


@pytest.mark.parametrize(
    ("asked", "told", "where"),
    [("bytes=0-9", TEXT[:10], f"bytes 0-9/{len(TEXT)}"), ("bytes=-3", TEXT[-3:], f"bytes 12-14/{len(TEXT)}")],
)
async def test_a_part_is_sent(client: httpx.AsyncClient, output: str, asked: str, told: str, where: str) -> None:
    answer = await client.get(output, headers={"range": asked})
    assert (answer.status_code, answer.text, answer.headers["content-range"]) == (206, told, where)


@pytest.mark.parametrize("asked", ["bytes=999999999-", "bytes=15-", "bytes=-0"])
async def test_a_part_that_is_not_there_is_a_problem(client: httpx.AsyncClient, output: str, asked: str) -> None:
    answer = await client.get(output, headers={"range": asked, "x-request-id": "r-1"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(TEXT)}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert {answer.json()[name] for name in ("code", "request_id")} == {"range_not_satisfiable", "r-1"}


@pytest.mark.parametrize("asked", ["lines=1", "bytes", "bytes=", "bytes=x-y", "bytes=5-2", ""])
async def test_what_is_no_range_of_bytes_means_the_whole(client: httpx.AsyncClient, output: str, asked: str) -> None:
    answer = await client.get(output, headers={"range": asked})
    assert (answer.status_code, answer.text) == (200, TEXT)


async def test_the_document_names_parts_and_their_refusal(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()["paths"]["/jobs/{job_id}/output"]["get"]
    assert {"200", "206", "416"} <= set(described["responses"])
    assert "multipart/byteranges" in described["responses"]["206"]["content"]
    for status in ("206", "416"):
        assert "Content-Range" in described["responses"][status]["headers"]
    assert {"job_id", "format", "Range"} == {parameter["name"] for parameter in described["parameters"]}
