"""Requests, tables and artefacts for the trainer's tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from model_store import drafts, publishing, reading, runtime, signing
from model_store.manifest import Manifest
from model_store.volume import Volume
from tables import rows
from tables.columns import ColumnType, DateForm
from tables.schema import Schema
from trainer import child, fit
from trainer.progress import Progress
from trainer.spec import ChildProgress, ChildResult, ChildSpec, Trained
from trainer.table_files import TypedTable
from wire import messages


def request(estimator: str = "auto", target: str = "y", **fields: Any) -> messages.TrainRequest:
    """A training request of the model ``m``."""
    fields.setdefault("dataset", messages.DatasetRef(id="0" * 32))
    return messages.TrainRequest(job_id="job-1", attempt=1, model="m", target=target, estimator=estimator, **fields)


def typed(**columns: Any) -> TypedTable:
    """A table from lists: floats are numbers, texts text, bools boolean, datetime64 dates."""
    frame, types, forms = pd.DataFrame(), dict[str, ColumnType](), dict[str, DateForm]()
    for name, values in columns.items():
        cells = np.asarray(values)
        if cells.dtype.kind == "b":
            types[name], frame[name] = "boolean", cells.astype(float)
        elif cells.dtype.kind == "M":
            types[name], frame[name], forms[name] = "date", cells.astype("datetime64[us]"), "iso"
        elif cells.dtype.kind == "U":
            types[name], frame[name] = "text", pd.Series(list(cells)).astype("str")
        else:
            types[name], frame[name] = "number", cells.astype(float)
    return TypedTable(frame, types, forms)


def numbers(rows: int = 120, classes: int = 2, seed: int = 0) -> TypedTable:
    """Two columns, of which ``a`` decides the class ``c0``, ``c1``…"""
    draw = np.random.default_rng(seed)
    a, b = draw.uniform(size=rows), draw.uniform(size=rows)
    return typed(a=a, b=b, y=[f"c{int(value * classes)}" for value in a])


class Bench:
    """A model volume with keys, and the way a trainer service uses the child on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volume = Volume(folder / "models")
        self.volume.root.mkdir()
        self.private, self.public = signing.generate_keys(folder / "keys")
        self.progress: list[ChildProgress] = []
        self._jobs = 0

    def spec(self, asked: messages.TrainRequest, data: Path | None, champion: int = 0) -> ChildSpec:
        """The child's orders: a file, or the request's sample set."""
        kind: Any = data.suffix[1:] if data else "sample"
        return ChildSpec(
            request=asked,
            kind=kind,
            dataset_path=str(data or ""),
            models_path=str(self.volume.root),
            champion=champion,
            verify_key_path=str(self.public),
            prove_s=0.2,
            measure_s=0.03,
        )

    def train(self, asked: messages.TrainRequest, data: Path | None, champion: int = 0) -> tuple[ChildResult, Path]:
        """Run the child's work in this process, in a draft folder of its own."""
        self._jobs += 1
        draft = drafts.draft(self.volume, asked.model, f"job-{self._jobs}")
        return child.run(self.spec(asked, data, champion), draft, Progress(self.progress.append)), draft

    def publish(self, result: ChildResult, draft: Path) -> int:
        """Publish a trained draft; gives its version."""
        assert result.trained is not None, result.error
        fields = {name: getattr(result.trained, name) for name in Trained.__struct_fields__ if name != "files"}
        manifest = Manifest(model="m", job_id=f"job-{self._jobs}", created_at="2026-01-01T00:00:00+00:00", **fields)
        signer, verifier = signing.Signer(self.private), signing.Verifier(self.public)
        return publishing.publish(self.volume, draft, manifest, signer, verifier).version

    def trained(self, csv: str | bytes, asked: messages.TrainRequest) -> Served:
        """Train on a CSV file's content, publish, and load what a predictor would load."""
        data = self.folder / "data.csv"
        data.write_bytes(csv.encode() if isinstance(csv, str) else csv)
        result, draft = self.train(asked, data)
        assert result.trained is not None, result.error
        version = self.publish(result, draft)
        artefact = reading.read(self.volume, "m", version, signing.Verifier(self.public), 2**30)
        return Served(artefact, result.trained)

    def refused(self, csv: str | bytes, asked: messages.TrainRequest) -> str:
        """Train on a CSV file's content that is refused; gives the sentence."""
        data = self.folder / "data.csv"
        data.write_bytes(csv.encode() if isinstance(csv, str) else csv)
        result, _ = self.train(asked, data)
        assert result.error is not None
        assert result.error.code == "training_failed"
        return result.error.message


class Served:
    """A published version as a predictor holds it."""

    def __init__(self, artefact: reading.Artefact, trained: Trained) -> None:
        self.trained = trained
        self._schema = Schema.decode(artefact.files["schema.json"])
        self._runtime = runtime.load(artefact)
        runtime.check_samples(self._runtime, artefact)

    def predict(self, instances: list[Any]) -> list[Any]:
        """Answers for rows of a request, classes by their names."""
        batch = rows.decode_json(json.dumps(instances).encode(), self._schema, max_rows=100)
        labels = self._runtime.predict(batch.numbers, batch.texts).labels
        classes = self.trained.classes
        return labels.tolist() if classes is None else [classes[label] for label in labels]


def moving(asked: messages.TrainRequest, table: TypedTable) -> tuple[fit.Fitted, list[ChildProgress]]:
    """A fit, and the progress it said."""
    lines: list[ChildProgress] = []
    return fit.fit(table, asked, Progress(lines.append)), lines
