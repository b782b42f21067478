"""The manifest: everything a version says about itself, signed as one JSON file.

Written by the trainer as the last file of a draft, read by predictors before any other byte
of the folder is believed.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from model_store import errors, names

SCHEMA = 1
"""The manifest format's version; a reader refuses another one."""

MAX_BYTES = 8 * 1024 * 1024
"""Largest manifest anyone reads or publishes; reports are bounded far below it."""

SERVED = {"onnx": "model.onnx", "skops": "model.skops"}
"""The file a runtime serves from, by the manifest's ``runtime``."""

PEOPLE_ONLY = ("model.joblib",)
"""Files for people and notebooks: signed and handed out, never loaded by a service."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the folder: its size in bytes and the lower-hex SHA-256 of its content."""

    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed.

    ``version`` and ``files`` are filled by publishing. ``created_at`` is an ISO 8601 UTC time.
    ``features`` is the content of schema.json; ``classes`` are JSON scalars in the order of the
    class indices, None for regression; ``score`` is the figure named ``scoring`` that decides
    promotions; ``dataset`` has ``id`` or ``sample``, ``digest`` and ``rows``; ``libraries``
    maps names to versions; ``runtime_report`` says why this runtime and what was proven;
    ``comparison`` says which champion it was compared with and how that ended, so that a
    promotion that was cut short can be finished later.
    """

    schema: int = SCHEMA
    model: str
    version: int = 0
    job_id: str
    created_at: str
    estimator: str
    task: Literal["classification", "regression"]
    params: dict[str, Any] = {}
    features: Any = None
    target: str
    classes: list[Any] | None = None
    metrics: dict[str, Any] = {}
    score: float | None = None
    scoring: str = ""
    dataset: dict[str, Any] = {}
    holdout: dict[str, Any] = {}
    comparison: dict[str, Any] = {}
    runtime: Literal["onnx", "skops"]
    runtime_report: dict[str, Any] = {}
    libraries: dict[str, str] = {}
    report: dict[str, Any] = {}
    files: dict[str, FileEntry] = {}

    def encode(self) -> bytes:
        """The bytes to sign and store."""
        return msgspec.json.encode(self)

    @property
    def size_bytes(self) -> int:
        """The sum of all listed files, in bytes."""
        return sum(entry.size_bytes for entry in self.files.values())

    @property
    def served_file(self) -> str:
        """The name of the file the runtime loads."""
        return SERVED[self.runtime]


def decode(data: bytes) -> Manifest:
    """Read a manifest's bytes. Raises errors.Corrupt."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (ValueError, RecursionError) as error:
        raise errors.Corrupt("the manifest cannot be read") from error
    if manifest.schema != SCHEMA:
        raise errors.Corrupt(f"manifest schema {manifest.schema} is not {SCHEMA}")
    try:
        for name in manifest.files:
            names.check_file(name)
    except errors.BadName as error:
        raise errors.Corrupt("the manifest lists a name that is not a plain file name") from error
    return manifest
