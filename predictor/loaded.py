"""One version in memory: from a verified artefact to something that answers requests.

Between ``model_store.reading`` and the registry. A version is made ready here whole: its schema
read, its graph loaded, its own samples replayed, and a first inference done at several sizes, so
that no request pays for any of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import orjson

from model_store import errors as store
from model_store import runtime as runtimes
from model_store.reading import Artefact
from predictor.pace import Pace
from tables.batch import Batch, number_table, text_table
from tables.errors import BadSchema
from tables.schema import Schema

SCHEMA_FILE: Final = "schema.json"
"""The columns of a version, in its folder."""

WARM_ROWS: Final = (1, 2, 16, 256)
"""Rows of the inferences done before a version is served: the first of each size allocates."""


@dataclass(frozen=True)
class LoadedVersion:
    """A version that is ready.

    ``classes`` maps a class index to its JSON text (None for a regression); ``size_bytes`` is its
    served file's, from which the registry reckons its memory; ``pace`` says how long its batches take,
    measured at loading and with every batch.
    """

    model: str
    version: int
    schema: Schema
    runtime: runtimes.Runtime
    classes: dict[int, bytes] | None
    size_bytes: int
    pace: Pace = field(default_factory=Pace)

    @cached_property
    def class_values(self) -> list[Any] | None:
        """The classes in the order of their indices, as values; None for a regression."""
        return None if self.classes is None else [orjson.loads(text) for text in self.classes.values()]


def prepare(artefact: Artefact) -> LoadedVersion:
    """Load, check and warm. Raises model_store's Corrupt or TooLarge."""
    manifest = artefact.manifest
    try:
        schema = Schema.decode(artefact.files.get(SCHEMA_FILE, b""))
    except BadSchema as error:
        raise store.Corrupt("the version has no schema that can be read") from error
    if (manifest.classes is None) != (manifest.task == "regression"):
        raise store.Corrupt("the manifest's classes do not fit its task")
    classes = manifest.classes
    runtime = runtimes.load(artefact)
    runtimes.check_samples(runtime, artefact)
    pace = Pace()
    for count in WARM_ROWS:
        rows = empty_rows(schema, count)
        warm(runtime, rows)
        started_at = time.thread_time()
        warm(runtime, rows)
        pace.note(count, time.thread_time() - started_at)
    return LoadedVersion(
        manifest.model,
        manifest.version,
        schema,
        runtime,
        None if classes is None else {at: orjson.dumps(name) for at, name in enumerate(classes)},
        runtime.size_bytes,
        pace,
    )


def empty_rows(schema: Schema, rows: int) -> Batch:
    """Rows of zeros and missing texts: enough to make a runtime allocate what it needs."""
    numbers = [np.zeros(rows) for _ in schema.number_names]
    return Batch(number_table(numbers, rows), text_table([[""] * rows for _ in schema.text_names], rows))


def warm(runtime: runtimes.Runtime, rows: Batch) -> None:
    """One inference whose answer nobody wants; made-up rows may be outside of what a model takes."""
    try:
        runtime.predict(rows.numbers, rows.texts, probabilities=True)
    except runtimes.CannotPredict:
        return
