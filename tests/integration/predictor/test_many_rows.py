"""Many rows on a real broker: who asks for one meanwhile is answered first."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline

from model_store.runtime import features, samples
from model_store.runtime.skops_file import PipelineRuntime
from predictor.service import PredictorService
from tests.integration.predictor.test_predicting import send
from tests.unit.predictor.artefacts import Shelf, regression
from wire.async_client import AsyncRpcClient


def pipeline_files(pipeline: Any, rows: Any) -> dict[str, bytes]:
    """What a version has that scikit-learn serves."""
    runtime = PipelineRuntime(pipeline, 0)
    recorded = samples.record(runtime, rows, np.empty((len(rows), 0), dtype=object))
    return {"model.skops": skops.io.dumps(pipeline), "samples.json": recorded}


async def test_a_single_row_does_not_wait_for_ten_thousand(
    shelf: Shelf, service: PredictorService, client: AsyncRpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both by scikit-learn, so on the handler threads, and the single row asked while the others are computed."""
    known = np.random.default_rng(0).normal(size=(50_000, 2))
    frame = features.build(known, np.empty((len(known), 0), dtype=object), ["a", "b"])
    neighbours = make_pipeline(KNeighborsRegressor(3, algorithm="brute")).fit(frame, known[:, 0])
    ridge = make_pipeline(Ridge()).fit(frame, known.sum(axis=1))
    shelf.publish(regression(), "slow", files=pipeline_files(neighbours, known[:2]), runtime="skops")
    shelf.publish(regression(), "other", files=pipeline_files(ridge, known[:2]), runtime="skops")
    for model in ("slow", "other"):
        await send(client, [[1, 2]], model=model)
    begun, free = asyncio.Event(), threading.Event()
    loop, predict = asyncio.get_running_loop(), PipelineRuntime.predict

    def noted(runtime: Any, numbers: Any, *rest: Any, **named: Any) -> Any:
        if len(numbers) == 10_000:
            loop.call_soon_threadsafe(begun.set)
            assert free.wait(30), "the single row waits for these"
        return predict(runtime, numbers, *rest, **named)

    monkeypatch.setattr(PipelineRuntime, "predict", noted)
    large = asyncio.create_task(send(client, known[:10_000].tolist(), model="slow"))
    await asyncio.wait_for(begun.wait(), 15)
    _, (answer,) = await send(client, [[1.0, 2.0]], model="other")
    assert answer["predictions"] == pytest.approx([3.0], abs=1e-3)
    free.set()
    _, (answer,) = await large
    assert len(answer["predictions"]) == 10_000
