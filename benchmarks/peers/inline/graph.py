"""Plain FastAPI with ONNX Runtime in the process: the strongest thing a team would write by hand."""

from typing import Any

import numpy as np
import onnxruntime as ort
from bodies import NUMBERS, TEXTS, Answer, Body
from fastapi import FastAPI
from rows import FOLDER

app = FastAPI()
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = ort.InferenceSession((FOLDER / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"])
label = session.get_outputs()[0].name
inputs = {entry.name: entry.type for entry in session.get_inputs()}
width = np.float64 if "double" in inputs.get("numbers", "") else np.float32


def feed(rows: list[Any]) -> dict[str, Any]:
    """The graph's inputs."""
    if not TEXTS:
        return {"numbers": np.array(rows, dtype=width)}
    numbers = np.array([[row[at] for at in NUMBERS] for row in rows], dtype=width)
    texts = np.array([[row[at] or "" for at in TEXTS] for row in rows], dtype=object)
    return {"numbers": numbers, "texts": texts}


@app.post("/predict")
async def predict(body: Body) -> Answer:
    """Predict; the graph takes microseconds, so no thread is worth its hand-over."""
    return Answer(predictions=session.run([label], feed(body.instances))[0].tolist())
