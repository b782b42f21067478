"""The rows that `make bulk` predicts, and scikit-learn alone on the same file."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd

_CITIES = ("Paris", "Rome", "Berlin", "Madrid", "Vienna")
_CHUNK = 100_000


def table(rows: int, seed: int) -> pd.DataFrame:
    """Customers: six numbers and a city; ``left`` follows from them."""
    draw = np.random.default_rng(seed)
    made = {f"n{at}": draw.normal(size=rows).round(4) for at in range(6)}
    frame = pd.DataFrame({"key": np.arange(rows), **made, "city": draw.choice(_CITIES, rows)})
    frame["left"] = np.where(frame.n0 + frame.n1 + (frame.city == "Rome") + draw.normal(size=rows) > 0, "yes", "no")
    return frame


def in_process(file: Path, training: pd.DataFrame, output: Path) -> float:
    """Rows a second of scikit-learn alone: read, predict, write, a chunk at a time."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [f"n{at}" for at in range(6)]
    prepare = make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(), ["city"]))
    pipeline = make_pipeline(prepare, LogisticRegression()).fit(training[[*numbers, "city"]], training["left"])
    begun, rows = time.perf_counter(), 0
    for chunk in pd.read_csv(file, chunksize=_CHUNK):
        answers = pd.DataFrame({"prediction": pipeline.predict(chunk[[*numbers, "city"]])})
        answers.to_csv(output, mode="a" if rows else "w", header=not rows, index=False)
        rows += len(chunk)
    return rows / (time.perf_counter() - begun)
