"""Warren's side of the comparison: trains the models over HTTP and fetches them for the peers."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import processes
from benchmarks.client import Address
from benchmarks.workloads import WORKLOADS, Row, Workload

_TENSOR_HEAD = 2048


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


def tensor_address(address: Address, workload: Workload) -> Address:
    """Where the requests of ``tensors`` go."""
    length = f"Inference-Header-Content-Length: {_TENSOR_HEAD}\r\n"
    return replace(address, path=f"/v2/models/{workload.name}/infer", fields=length)


def tensors(rows: list[Row], workload: Workload) -> bytes:
    """The request for rows with binary tensors (Open Inference Protocol): one in float32, or one for each column.

    The JSON is filled up with blanks, so that all requests have the same headers.
    """
    import numpy as np

    inputs, blobs = [], []
    if workload.texts:
        for at, column in enumerate(workload.columns):
            cells = [row[at] for row in rows]
            blob = _elements(cells) if column["type"] == "text" else np.array(cells, dtype="<f8").tobytes()
            inputs.append(_input(column["name"], "BYTES" if column["type"] == "text" else "FP64", [len(rows)], blob))
            blobs.append(blob)
    else:
        blobs.append(np.array(rows, dtype="<f4").tobytes())
        inputs.append(_input("x", "FP32", [len(rows), len(workload.columns)], blobs[0]))
    head = {"inputs": inputs, "outputs": [{"name": "predict", "parameters": {"binary_data": True}}]}
    return b"".join((msgspec.json.encode(head).ljust(_TENSOR_HEAD), *blobs))


def _elements(cells: Row) -> bytes:
    texts = [(cell or "").encode() for cell in cells]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _input(name: str, datatype: str, shape: list[int], blob: bytes) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(blob)}}


def decode_tensors(answer: bytes) -> list[Any]:
    """The predictions in a binary answer: texts, each with its length in four bytes before it."""
    _, start = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
    found = []
    while start < len(answer):
        stop = start + 4 + int.from_bytes(answer[start : start + 4], "little")
        found.append(answer[start + 4 : stop].decode())
        start = stop
    return found


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
