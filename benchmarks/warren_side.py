"""Warren's side of the comparison: trains the models over HTTP and fetches them for the peers."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import processes
from benchmarks.workloads import WORKLOADS, Row, Workload


class Warren:
    """A running stack, by its address."""

    def __init__(self, url: str) -> None:
        self.url = url

    def train(self, workload: Workload, folder: Path) -> None:
        """Train the workload's model unless it is there, and put it into ``folder`` for the peers."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "columns.json").write_text(json.dumps(workload.columns))
        if self._get(f"/models/{workload.name}") is None:
            self._train(workload)
        detail = self._get(f"/models/{workload.name}") or {}
        version = detail["versions"][0]["version"]
        (folder / "runtime").write_text(detail["versions"][0]["runtime"])
        for name in ("model.joblib", "model.onnx"):
            address = f"{self.url}/models/{workload.name}/versions/{version}/files/{name}"
            with urllib.request.urlopen(address, timeout=60) as answer:
                (folder / name).write_bytes(answer.read())

    def _train(self, workload: Workload) -> None:
        upload = urllib.request.Request(
            f"{self.url}/datasets", data=workload.table(), headers={"Content-Type": "text/csv"}
        )
        with urllib.request.urlopen(upload, timeout=60) as answer:
            dataset = json.loads(answer.read())["dataset_id"]
        request = {"model": workload.name, "dataset": {"id": dataset}, "target": "y"}
        request |= {"estimator": workload.estimator, "params": workload.params}
        job = json.loads(processes.post(f"{self.url}/train", msgspec.json.encode(request)))["job_id"]
        end = time.monotonic() + 300
        while (state := self._get(f"/jobs/{job}") or {})["status"] in ("queued", "running"):
            if time.monotonic() > end:
                raise TimeoutError(f"training {workload.name} took over 300 s")
            time.sleep(0.3)
        if state["status"] != "succeeded":
            raise RuntimeError(f"training {workload.name}: {state['error']}")

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                data: dict[str, Any] = json.loads(answer.read())
                return data
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise


def body(rows: list[Row], workload: Workload) -> bytes:
    """The request for rows."""
    return msgspec.json.encode({"model": workload.name, "instances": rows})


def decode(answer: bytes) -> list[Any]:
    """The predictions in an answer."""
    return list(json.loads(answer)["predictions"])


class Truth:
    """What scikit-learn itself predicts, in this process, with the pipeline that everybody serves."""

    def __init__(self, folder: Path) -> None:
        import joblib

        stored = joblib.load(folder / "model.joblib")
        self._pipeline = stored["pipeline"]
        self._classes = stored["classes"]
        self._columns = json.loads((folder / "columns.json").read_text())

    def predict(self, rows: list[Row]) -> list[int]:
        """Class indices."""
        import numpy as np
        import pandas as pd

        numbers = [i for i, column in enumerate(self._columns) if column["type"] != "text"]
        texts = [i for i, column in enumerate(self._columns) if column["type"] == "text"]
        table = pd.DataFrame(rows)
        if not texts:
            return [int(x) for x in self._pipeline.predict(table.to_numpy(dtype=np.float64))]
        frame = pd.concat([table[numbers].astype(np.float64), table[texts].astype(object).fillna("")], axis=1)
        frame.columns = pd.Index([self._columns[i]["name"] for i in (*numbers, *texts)])
        return [int(x) for x in self._pipeline.predict(frame)]

    def indices(self, answer: bytes, decode: Callable[[bytes], list[Any]]) -> list[int] | None:
        """An answer's predictions as class indices, whichever way it says them; None when it can't be read."""
        try:
            return [self._classes.index(said) if isinstance(said, str) else int(said) for said in decode(answer)]
        except (ValueError, KeyError, TypeError, IndexError):
            return None


if __name__ == "__main__":
    url, name, models = sys.argv[1:]
    Warren(url).train(next(one for one in WORKLOADS if one.name == name), Path(models) / name)
