"""BentoML as its documentation recommends: a service with a worker for each core, batching on or off."""

from __future__ import annotations

import os
from typing import Any

import bentoml
from rows import Model

BATCHING = os.environ.get("BENCH_BATCHING") == "on"


@bentoml.service(
    workers=2,
    traffic={"timeout": 60, "max_concurrency": 2000},
    logging={"access": {"enabled": False}},
)
class Predictor:
    """Serves the model."""

    def __init__(self) -> None:
        self.model = Model()

    if BATCHING:

        @bentoml.api(batchable=True, max_batch_size=1000, max_latency_ms=1000)
        def predict(self, instances: list[Any]) -> list[Any]:
            """Predict the rows of several requests at once."""
            return self.model.predict(instances)

    else:

        @bentoml.api
        def predict(self, instances: list[Any]) -> list[Any]:
            """Predict."""
            return self.model.predict(instances)
