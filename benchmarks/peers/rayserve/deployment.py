"""Ray Serve as its documentation recommends, batching on or off."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import ray
from ray import serve
from rows import Model
from starlette.requests import Request

BATCHING = os.environ.get("BENCH_BATCHING") == "on"


@serve.deployment(
    num_replicas=1 if BATCHING else 2,
    max_ongoing_requests=1000,
    ray_actor_options={"num_cpus": 0.5},
    logging_config={"enable_access_log": False},
)
class Predictor:
    """Serves the model."""

    def __init__(self) -> None:
        self.model = Model()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def many(self, requests: list[Any]) -> list[Any]:
        """Predict the rows of several requests at once."""
        answer = self.model.predict([row for rows in requests for row in rows])
        start, parts = 0, []
        for rows in requests:
            parts.append(answer[start : start + len(rows)])
            start += len(rows)
        return parts

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Predict."""
        rows = (await request.json())["instances"]
        return {"predictions": await self.many(rows) if BATCHING else self.model.predict(rows)}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1]), "location": "HeadOnly"})
    serve.run(Predictor.bind(), route_prefix="/predict")
    while True:
        time.sleep(3600)
