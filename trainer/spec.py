"""What the trainer service and its child process say to each other, as JSON.

In: ``job.json`` in the draft folder (ChildSpec). Out: the artefact's files and ``result.json``
(ChildResult) in the same folder, and one ChildProgress per line on standard output. The child
``python -m trainer.child <draft folder>`` exits with 0 whenever it wrote a result, also when
that result is an error; a child that ends otherwise (killed, crashed) has left no result and
the attempt failed through no fault of the input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from wire import errors, messages

JOB_FILE = "job.json"
"""The child's orders, in the draft folder; the service removes it before publishing."""

RESULT_FILE = "result.json"
"""The child's answer, in the draft folder; the service removes it before publishing."""

Task = Literal["classification", "regression"]
"""What kind of value the target holds: one of several classes, or a number."""

DataKind = Literal["csv", "parquet", "jsonl", "sample"]
"""The format of the dataset's file, or one of scikit-learn's own sets."""


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One training, ready to run in a process of its own.

    ``dataset_path`` is the dataset's file, empty for a sample set (whose name the request has).
    ``champion`` is the version to compare with, 0 for none; it is read from the volume
    ``models_path`` and verified with ``verify_key_path``. ``memory_bytes`` caps the address
    space (0: no cap), ``artefact_bytes`` the champion's size; ``prove_s`` and
    ``measure_s`` are what compiling may spend (trainer.compile.Limits).
    """

    request: messages.TrainRequest
    kind: DataKind
    dataset_path: str = ""
    models_path: str = ""
    champion: int = 0
    verify_key_path: str = ""
    memory_bytes: int = 0
    artefact_bytes: int = 2 * 1024**3
    prove_s: float = 1.0
    measure_s: float = 0.3

    def write(self, draft: Path) -> None:
        """Put the orders into the draft folder."""
        (draft / JOB_FILE).write_bytes(msgspec.json.encode(self))

    @classmethod
    def read(cls, draft: Path) -> ChildSpec:
        """The orders of a draft folder. Raises OSError or msgspec.DecodeError when there are none."""
        return msgspec.json.decode((draft / JOB_FILE).read_bytes(), type=cls)


class ChildProgress(msgspec.Struct, frozen=True):
    """One line of standard output. ``fraction`` runs from 0 to 1 and never falls."""

    fraction: float
    stage: str
    message: str = ""


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What the manifest says about a fitted version, under the manifest's own field names.

    ``features`` is the content of schema.json. ``classes`` are JSON scalars in the order of the
    class indices (None for a regression). ``score`` is the figure named ``scoring`` on the
    holdout. ``dataset`` has ``id`` or ``sample``, ``digest`` (sha256, hex) and ``rows``.
    ``files`` names the artefact's files that the child wrote into the draft folder.
    """

    estimator: str
    task: Task
    params: dict[str, Any]
    features: dict[str, Any]
    target: str
    classes: list[Any] | None
    metrics: dict[str, Any]
    score: float | None
    scoring: str
    dataset: dict[str, Any]
    runtime: Literal["onnx", "skops"]
    runtime_report: dict[str, Any]
    libraries: dict[str, str]
    holdout: dict[str, Any]
    report: dict[str, Any]
    files: tuple[str, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The new version beside the champion, on the same holdout rows.

    ``better`` is True when the new score is at least as good as the champion's (in the
    score's own direction), None when the two can't be compared; ``reason`` says it in a
    sentence in every case. ``champion`` is the version that was compared with, 0 for none.
    """

    champion: int
    champion_score: float | None
    better: bool | None
    reason: str


class ChildResult(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one training: either ``trained`` and ``comparison``, or ``error``."""

    trained: Trained | None = None
    comparison: Comparison | None = None
    error: errors.ErrorBody | None = None

    def write(self, draft: Path) -> None:
        """Put the result into the draft folder, whole or not at all."""
        part = draft / (RESULT_FILE + ".part")
        part.write_bytes(msgspec.json.encode(self))
        part.rename(draft / RESULT_FILE)

    @classmethod
    def read(cls, draft: Path) -> ChildResult:
        """The result in a draft folder. Raises OSError or msgspec.DecodeError when there is none."""
        return msgspec.json.decode((draft / RESULT_FILE).read_bytes(), type=cls)
