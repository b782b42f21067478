"""What a training or an upload takes, put together and checked before anything is sent.

Between ``client.train`` and POST /train, ``client.upload`` and POST /datasets.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from warren import rows as rows_of
from warren.answers import Dataset
from warren.errors import InvalidRows

MAX_ROWS_BYTES = 8 * 1024 * 1024
"""Largest body of a training with rows in it; a larger table is uploaded as a file."""
CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
"""The media types of uploads."""

_MEDIA = {".csv": CSV, ".tsv": CSV, ".txt": CSV, ".parquet": PARQUET, ".pq": PARQUET}


def media_of(path: Path) -> str:
    """The media type of a file by its name. Raises InvalidRows."""
    media = _MEDIA.get(path.suffix.lower())
    if media is None:
        raise InvalidRows(f"{path.name} is neither CSV nor Parquet by its name; save it as .csv or .parquet.")
    return media


def file_of(frame: Any) -> tuple[BinaryIO, int, str]:
    """A frame as a file in memory, its size and its media type. Raises InvalidRows for what is no frame."""
    file: BinaryIO = io.BytesIO()
    if rows_of.is_polars(frame):
        frame.write_parquet(file)
        media = PARQUET
    elif rows_of.is_pandas(frame):
        media = _write_pandas(frame, file)
    else:
        raise InvalidRows("Give a path, a pandas or a Polars frame, or a list of rows as data.")
    size = file.tell()
    file.seek(0)
    return file, size, media


def _write_pandas(frame: Any, file: BinaryIO) -> str:
    try:
        frame.to_parquet(file, index=False)
    except ImportError:
        # pandas alone writes no Parquet; CSV loses that a text column holds only digits.
        frame.to_csv(file, index=False)
        return CSV
    return PARQUET


def is_frame(data: Any) -> bool:
    """Whether data is a table that has to be uploaded from memory."""
    return rows_of.is_pandas(data) or rows_of.is_polars(data)


def choice_of(data: Any) -> dict[str, Any]:
    """The member ``dataset`` of a training's body for what is no file. Raises InvalidRows."""
    if isinstance(data, Dataset):
        return {"id": data.dataset_id}
    if isinstance(data, Mapping) and len(data) == 1 and {*data} <= {"id", "sample"}:
        return dict(data)
    given = [_named(row) for row in rows_of.plain(data)]
    if not given:
        raise InvalidRows("There are no rows to train on.")
    if len(msgspec.json.encode(given)) > MAX_ROWS_BYTES:
        raise InvalidRows("The rows are over 8 MiB; write them to a file and give its path, or give a frame.")
    return {"rows": given}


def _named(row: Any) -> Any:
    if not isinstance(row, Mapping):
        raise InvalidRows("Rows to train on need names for their columns: give dicts or a frame.")
    return row


def body_of(
    model: str,
    dataset: Mapping[str, Any],
    target: str,
    *,
    estimator: str | None,
    params: Mapping[str, Any] | None,
    search: Mapping[str, Any] | None,
    validation: Mapping[str, Any] | None,
    promote: str | None,
) -> dict[str, Any]:
    """The body of POST /train; what is None is left to the gateway."""
    chosen = {
        "estimator": estimator,
        "params": params,
        "search": search,
        "validation": validation,
        "promote": promote,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    return {"model": model, "dataset": dict(dataset), "target": target, **given}


def order_of(
    model: str,
    dataset: Mapping[str, Any],
    version: int | str | None,
    *,
    probabilities: bool,
    columns: Sequence[str] | str,
) -> dict[str, Any]:
    """The body of POST /batch-predictions."""
    body: dict[str, Any] = {"model": model, "dataset": dict(dataset), "probabilities": probabilities}
    body["columns"] = columns if isinstance(columns, str) else list(columns)
    return body if version is None else {**body, "version": version}


def new_key() -> str:
    """An idempotency key that nobody has used."""
    return uuid.uuid4().hex


Data = str | Path | Dataset | Mapping[str, str] | Sequence[Mapping[str, Any]] | Any
"""What can be trained on: the path of a file, an upload, ``{"id": …}``, ``{"sample": "iris"}``,
a pandas or Polars frame, or a list of dicts."""
