"""Publishing into a stack's volume from outside, as a trainer would: many publishers at once, and versions to spoil."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from model_store import publishing
from model_store.manifest import Manifest
from model_store.signing import Signer, Verifier
from model_store.volume import Volume
from tests.faults import quick_child
from tests.unit.predictor import artefacts


class Press(NamedTuple):
    """Everything that publishing needs, in a form that can be sent to another process."""

    home: Path
    models: Path

    @property
    def volume(self) -> Volume:
        return Volume(self.models)

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.home / "secrets" / "signing.pub")


class Made(NamedTuple):
    """A version, the seconds from its draft to its being visible, and how many of them it took to get its number."""

    version: int
    seconds: float
    number_s: float


def publish(press: Press, model: str, job_id: str, *, padding_bytes: int = 0) -> Made:
    """Publish the prepared artefact once more; ``padding_bytes``: a classifier that is that much larger."""
    prepared = press.home / quick_child.PREPARED
    names = ("model.onnx", "schema.json", "samples.json")
    contents = {name: (prepared / name).read_bytes() for name in names}
    if padding_bytes:
        contents["model.onnx"] = artefacts.classifier(padding=padding_bytes)
        contents["samples.json"] = artefacts.sample_file(artefacts.classifier(), artefacts.NUMBERS)
    signer, verifier, volume = Signer(press.home / "secrets" / "signing.key"), press.verifier, press.volume
    began = time.monotonic()
    draft = publishing.draft(volume, model, job_id)
    for name, content in contents.items():
        (draft / name).write_bytes(content)
    manifest = Manifest(
        model=model,
        job_id=job_id,
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        estimator="Quick",
        task="classification" if padding_bytes else "regression",
        classes=["no", "yes"] if padding_bytes else None,
        target="target",
        runtime="onnx",
        score=1.0,
        scoring="r2",
    )
    with _timed() as taken:
        version = publishing.publish(volume, draft, manifest, signer, verifier).version
    return Made(version, time.monotonic() - began, *taken)


@contextmanager
def _timed() -> Iterator[list[float]]:
    """How long it takes from asking for a number to having it: to reserve it, sign for it and rename onto it."""
    taken: list[float] = []
    take = publishing._take_number

    def timed(*given: Any) -> Manifest:
        began = time.monotonic()
        numbered = take(*given)
        taken.append(time.monotonic() - began)
        return numbered

    with mock.patch.object(publishing, "_take_number", timed):
        yield taken
