"""What a replica asks a predictor about the models on the volume, and the answers."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from wire.messages.envelope import Message


class ListModels(Message, frozen=True, kw_only=True):
    """All models, by name."""

    TYPE: ClassVar[str] = "models.list"


class GetModel(Message, frozen=True, kw_only=True):
    """One model with its versions and aliases."""

    TYPE: ClassVar[str] = "models.get"
    model: str


class GetVersion(Message, frozen=True, kw_only=True):
    """One version with everything its manifest says."""

    TYPE: ClassVar[str] = "models.version"
    model: str
    version: int


class ReadFile(Message, frozen=True, kw_only=True):
    """A piece of an artefact's file; at most ``size_bytes`` from ``offset``."""

    TYPE: ClassVar[str] = "models.file"
    model: str
    version: int
    file: str
    offset: int
    size_bytes: int


class FilePiece(Message, frozen=True, kw_only=True):
    """The piece (base64 in JSON), the file's total size and its sha256 from the manifest."""

    TYPE: ClassVar[str] = "models.piece"
    data: bytes
    total_bytes: int
    sha256: str


class AliasSummary(msgspec.Struct, frozen=True):
    """An alias: the version it names, the one it named before (0: none), and when it moved."""

    alias: str
    version: int
    previous: int
    revision: int
    changed_at: str


class VersionSummary(msgspec.Struct, frozen=True):
    """One line about a version."""

    version: int
    created_at: str
    estimator: str
    task: str
    score: float | None
    scoring: str
    runtime: str
    size_bytes: int


class ModelSummary(msgspec.Struct, frozen=True):
    """One line about a model; ``champion`` 0: no alias of that name."""

    model: str
    champion: int
    versions: int
    latest: int


class ModelList(Message, frozen=True, kw_only=True):
    """Answer to ListModels."""

    TYPE: ClassVar[str] = "models.listed"
    models: tuple[ModelSummary, ...]


class ModelDetail(Message, frozen=True, kw_only=True):
    """Answer to GetModel, newest version first."""

    TYPE: ClassVar[str] = "models.model"
    model: str
    aliases: tuple[AliasSummary, ...]
    versions: tuple[VersionSummary, ...]


class VersionDetail(Message, frozen=True, kw_only=True):
    """Answer to GetVersion: the verified manifest, as stored."""

    TYPE: ClassVar[str] = "models.version_detail"
    model: str
    version: int
    aliases: tuple[str, ...]
    manifest: dict[str, Any]
