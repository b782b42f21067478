"""Lists of datasets with thousands of columns, and of jobs with large requests: in pages that hold nobody up."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from api.keys.callers import LOCAL
from api.ledger import paging
from api.state import State
from tests.jobs import new_dataset, new_job
from wire import messages

WIDE = messages.DatasetProfile(
    rows=3,
    columns=tuple(
        messages.ColumnProfile(name=f"{number:>60}", type="number", missing=0, distinct=messages.MoreThan(1000))
        for number in range(10_000)
    ),
)


async def pages(client: httpx.AsyncClient, path: str) -> list[list[dict[str, Any]]]:
    """What is listed, page by page, until no cursor leads on."""
    found, cursor = [], None
    while not found or cursor is not None:
        answer = await client.get(path, params={"limit": 200} | ({} if cursor is None else {"cursor": cursor}))
        assert len(answer.content) < 2 * paging.PAGE_CHARS
        page = answer.json()
        cursor = page.pop("next_cursor")
        found.append(page.popitem()[1])
    return found


async def test_page_of_wide_datasets_ends_early_and_leads_on(state: State, client: httpx.AsyncClient) -> None:
    made = [new_dataset(created_ms=at) for at in range(8)]
    for dataset in made:
        state.ledger.datasets.place(dataset, owner=LOCAL.owner, put=lambda: None)
        state.ledger.datasets.describe(dataset.dataset_id, WIDE)
    first, second = await pages(client, "/datasets")
    listed = [*first, *second]
    assert [one["dataset_id"] for one in listed] == [dataset.dataset_id for dataset in reversed(made)]
    alone = (await client.get(f"/datasets/{made[0].dataset_id}")).json()
    assert (alone["rows"], alone["columns"]) == (3, list(msgspec.to_builtins(WIDE.columns)))
    assert listed[-1] == alone


async def test_page_of_large_requests_ends_early_and_leads_on(state: State, client: httpx.AsyncClient) -> None:
    request = messages.TrainRequest.decode(new_job().request.encode())
    request = msgspec.structs.replace(request, params={"class_weight": {"a" * 900_000: 1}})
    jobs = state.ledger.jobs
    made = [jobs.accept(new_job(request=request.encode().decode()), queued_limit=9) for _ in range(8)]
    first, second = await pages(client, "/jobs")
    assert [one["job_id"] for one in (*first, *second)] == [job.job_id for job in reversed(made)]
    assert (first[0]["target"], first[0]["estimator"], first[0]["dataset"]) == ("target", "auto", {"sample": "iris"})
