"""One training in a process of its own, a fork of ``fork_server``.

Started by the trainer service with ``job.json`` in the draft folder; leaves the artefact's files
and ``result.json`` there, and writes a line of progress to standard output for every step. What
the input causes (a table that can't be learnt from, more memory than allowed) is a result with
an error; anything else also leaves one, coded internal_error, with the traceback on standard error.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from model_store.errors import FULL
from trainer.progress import Progress
from trainer.spec import ChildProgress, ChildResult, ChildSpec, Trained
from wire import errors

if TYPE_CHECKING:
    from trainer.compile import Compiled
    from trainer.fit import Fitted
    from trainer.table_files import TypedTable

PRELOADED = (
    "trainer.fit",
    "trainer.comparison",
    "trainer.compile",
    "trainer.export",
    "trainer.table_files",
    "skops.io",
    "sklearn.datasets",
    "sklearn.ensemble",
)
"""What nearly every training imports sooner or later; a fork has it from the beginning."""

SCHEMA_FILE = "schema.json"
"""The columns, in the artefact."""

CHECK_ROWS = 2_000
"""Rows the compiled graph is proven on besides those made for it: enough to meet every branch."""

_LIBRARIES = ("numpy", "pandas", "scikit-learn", "scipy", "onnx", "onnxruntime", "skl2onnx", "skops")
_SERVED = {"onnx": "model.onnx", "skops": "model.skops"}
_SAMPLES = "samples.json"
_BLOCK_BYTES = 1024 * 1024
_STDOUT, _STDERR = 1, 2


def main(arguments: list[str]) -> int:
    """Run the training of a draft folder. Gives the exit status: 0 once a result is written."""
    draft = Path(arguments[0])
    emit = _own_output()
    spec = ChildSpec.read(draft)
    result = run(spec, draft, Progress(emit))
    result.write(draft)
    return 0


def run(spec: ChildSpec, draft: Path, progress: Progress) -> ChildResult:
    """Train, compile and write the artefact's files; an error becomes the result's."""
    try:
        _cap_memory(spec.memory_bytes)
        return _train(spec, draft, progress)
    except (errors.BadInput, errors.TooLarge) as error:
        return _failed(errors.TrainingFailed(error.message, errors=error.errors, hint=error.hint))
    except errors.WarrenError as error:
        return _failed(error)
    except MemoryError:
        message = "this training needs more memory than it may use"
        return _failed(errors.TrainingFailed(message, hint="train on fewer rows or columns, or a lighter estimator"))
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        full = isinstance(error, OSError) and error.errno in FULL
        return _failed(errors.StorageFull() if full else errors.InternalError())


def _failed(error: errors.WarrenError) -> ChildResult:
    return ChildResult(error=error.to_body())


def _train(spec: ChildSpec, draft: Path, progress: Progress) -> ChildResult:
    # Imported here, so that running out of memory or a broken library ends with a result too.
    from threadpoolctl import threadpool_limits

    from trainer import comparison, fit

    progress.stage("reading")
    table, digest = _read(spec)
    fitted = fit.fit(table, spec.request, progress)
    progress.stage("compiling")
    with threadpool_limits(1):
        compiled = _compile(fitted, spec)
    compared = comparison.compare(spec, fitted, table, digest)
    progress.stage("writing")
    files = _write(draft, fitted, compiled, spec.request.target)
    trained = _trained(spec, table, digest, fitted, compiled, files)
    return ChildResult(trained=trained, comparison=compared)


def _read(spec: ChildSpec) -> tuple[TypedTable, str]:
    """The table, and the digest (sha256, hex) of what it was read from."""
    from trainer import table_files

    if spec.kind == "sample":
        name = spec.request.dataset.sample or ""
        return table_files.sample_table(name), hashlib.sha256(f"sample {name}".encode()).hexdigest()
    path = Path(spec.dataset_path)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except FileNotFoundError as error:
        raise errors.DatasetNotFound("the dataset was deleted before the training began") from error
    return table_files.read_table(path, spec.kind), digest.hexdigest()


def _compile(fitted: Fitted, spec: ChildSpec) -> Compiled:
    import numpy as np

    from trainer.compile import Limits, compile_pipeline

    prepared = fitted.prepared
    # Held-out rows first: they are what the proof and the samples are about.
    places = np.concatenate([prepared.judging, prepared.training])[:CHECK_ROWS]
    rows = (np.ascontiguousarray(prepared.batch.numbers[places]), prepared.batch.texts[places])
    return compile_pipeline(
        fitted.pipeline,
        rows,
        classes_count=None if prepared.classes is None else len(prepared.classes),
        target_spread=0.0 if prepared.classes is not None else float(np.std(prepared.values[prepared.training])),
        limits=Limits(prove_s=spec.prove_s, measure_s=spec.measure_s),
    )


def _write(draft: Path, fitted: Fitted, compiled: Compiled, target: str) -> tuple[str, ...]:
    from trainer import export

    served = _SERVED[compiled.runtime]
    content = compiled.onnx_bytes if compiled.runtime == "onnx" else compiled.skops_bytes
    assert content is not None
    (draft / served).write_bytes(content)
    (draft / SCHEMA_FILE).write_bytes(fitted.prepared.schema.encode())
    (draft / _SAMPLES).write_bytes(compiled.samples)
    return (served, SCHEMA_FILE, _SAMPLES, export.write_notebook(draft, fitted, target))


def _trained(
    spec: ChildSpec, table: TypedTable, digest: str, fitted: Fitted, compiled: Compiled, files: tuple[str, ...]
) -> Trained:
    prepared = fitted.prepared
    named: dict[str, Any] = msgspec.to_builtins(spec.request.dataset)
    return Trained(
        estimator=fitted.estimator,
        task=prepared.task,
        params=fitted.params,
        features=prepared.schema.to_builtins(),
        target=spec.request.target,
        classes=None if prepared.classes is None else list(prepared.classes),
        metrics=fitted.metrics,
        score=fitted.score,
        scoring=prepared.scoring,
        dataset={**named, "digest": digest, "rows": len(table.frame)},
        runtime=compiled.runtime,
        runtime_report=compiled.report,
        libraries={name: version(name) for name in _LIBRARIES},
        holdout=prepared.split.info,
        report=fitted.report,
        files=files,
    )


def _cap_memory(memory_bytes: int) -> None:
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _own_output() -> Callable[[ChildProgress], None]:
    """Keep standard output for progress: what a library prints goes to standard error."""
    lines = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)

    def emit(progress: ChildProgress) -> None:
        os.write(lines, msgspec.json.encode(progress) + b"\n")

    return emit
