"""Jobs and datasets to put into a ledger, and threads that all begin at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from api.ledger import rows
from wire import messages, topology

T = TypeVar("T")


def new_job(**changed: Any) -> rows.NewJob:
    model = changed.get("model", "churn")
    request = messages.TrainRequest(
        job_id="",
        attempt=0,
        model=model,
        dataset=messages.DatasetRef(id=changed.get("dataset_id"))
        if changed.get("dataset_id")
        else messages.DatasetRef(sample="iris"),
        target="target",
    )
    values: dict[str, Any] = {
        "job_id": uuid.uuid4().hex,
        "owner": "local",
        "model": model,
        "dataset_id": None,
        "request": request.encode().decode(),
        "request_id": "r1",
        "body_digest": "d1",
    }
    return rows.NewJob(**(values | changed))


def too_large() -> str:
    """The request of a job, stored once, that no message holds."""
    request = messages.TrainRequest.decode(new_job().request.encode())
    params = {"class_weight": {"a" * topology.MAX_MESSAGE_BYTES: 1}}
    return msgspec.structs.replace(request, params=params).encode().decode()


def new_dataset(**changed: Any) -> rows.Dataset:
    values: dict[str, Any] = {
        "dataset_id": uuid.uuid4().hex,
        "kind": "csv",
        "size_bytes": 10,
        "sha256": "0" * 64,
        "created_ms": 1,
        "used_ms": 1,
    }
    return rows.Dataset(**(values | changed))


def all_at_once(*actions: Callable[[], T]) -> list[T | Exception]:
    """What each action gave or raised; they begin together."""
    barrier = threading.Barrier(len(actions))
    outcomes: list[Any] = [None] * len(actions)

    def run(index: int, action: Callable[[], T]) -> None:
        barrier.wait(10)
        try:
            outcomes[index] = action()
        except Exception as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index, action)) for index, action in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes
