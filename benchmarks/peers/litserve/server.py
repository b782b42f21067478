"""LitServe as its documentation recommends, batching on or off."""

from __future__ import annotations

import os
import sys
from typing import Any

import litserve
from rows import Model

BATCHING = os.environ.get("BENCH_BATCHING") == "on"


class Api(litserve.LitAPI):
    """Serves the model."""

    def setup(self, device: str) -> None:
        """Load the model once per worker."""
        self.model = Model()

    def decode_request(self, request):  # LitServe makes an HTTP parameter of any other annotation
        """The rows of one request."""
        return request["instances"]

    def predict(self, rows: Any) -> Any:
        """Predict."""
        return self.model.predict(rows)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """The answer of one request."""
        return {"predictions": output}


class BatchingApi(Api):
    """Serves the model, several requests at once."""

    def batch(self, inputs: list[Any]) -> Any:
        """Join the rows of several requests; remember where each ends."""
        self.sizes = [len(rows) for rows in inputs]
        return [row for rows in inputs for row in rows]

    def unbatch(self, output: Any) -> Any:
        """Give each request its own part."""
        start, parts = 0, []
        for size in self.sizes:
            parts.append(output[start : start + size])
            start += size
        return parts


if __name__ == "__main__":
    api = BatchingApi(max_batch_size=64, batch_timeout=0.001) if BATCHING else Api()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1 if BATCHING else 2, timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
