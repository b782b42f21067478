"""Reads of the model volume for replicas, which open no model file: lists, manifests, files.

From the queue MODELS to the volume. Everything that is told about a version comes from its
verified manifest; a version that fails verification is listed with the runtime ``corrupt``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from model_store import aliases, names, reading
from model_store import errors as store
from model_store.signing import Verifier
from model_store.volume import Volume
from predictor.store_errors import translated
from wire import build, errors, messages
from wire.server import Request

MAX_PIECE_BYTES: Final = 4 * 1024 * 1024
"""Largest piece of a file; in base64 it stays under RabbitMQ's 12 MiB."""

CORRUPT: Final = "corrupt"
"""What is listed as the runtime of a version that fails verification."""


class Reads:
    """Answers questions about what is on the volume."""

    def __init__(self, volume: Volume, verifier: Verifier, *, wait_s: float, predictor_id: str = "predictor") -> None:
        """``wait_s``: how long a version that is not there is looked for (0 on a local disk)."""
        self._volume = volume
        self._predictor_id = predictor_id
        self._verifier = verifier
        self._wait_s = wait_s
        self._answers: dict[str, Callable[[bytes], messages.Message]] = {
            messages.ListModels.TYPE: lambda _body: self.models(),
            messages.GetModel.TYPE: lambda body: self.model(messages.GetModel.decode(body)),
            messages.GetVersion.TYPE: lambda body: self.version(messages.GetVersion.decode(body)),
            messages.ReadFile.TYPE: lambda body: self.piece(messages.ReadFile.decode(body)),
            messages.Examine.TYPE: lambda body: self.examined(messages.Examine.decode(body)),
        }

    def handle(self, request: Request) -> messages.Message:
        """One request of the queue. Raises the errors of the answers, and MalformedBody."""
        answer = self._answers.get(request.kind)
        if answer is None:
            raise errors.MalformedBody("not a question about models")
        with translated():
            return answer(request.body)

    def examined(self, _asked: messages.Examine) -> messages.Examined:
        """How this predictor is; it never writes to the volume, so it doesn't try to."""
        readable = self._volume.is_readable()
        free, size = self._volume.room() if readable else (0, 0)
        state = messages.VolumeState(readable, False, free, size)
        return build.examined(self._predictor_id, state, "numpy", "onnxruntime", "scikit-learn")

    def models(self) -> messages.ModelList:
        """All models that have a version, by name."""
        found = []
        for model in self._volume.models():
            versions = self._volume.versions(model)
            if versions:
                champion = self._alias(model, names.CHAMPION)
                found.append(messages.ModelSummary(model, champion, len(versions), versions[-1]))
        return messages.ModelList(models=tuple(found))

    def model(self, asked: messages.GetModel) -> messages.ModelDetail:
        """One model, its newest version first. Raises model_store's NoSuchModel."""
        versions = self._volume.versions(asked.model)
        if not versions:
            raise store.NoSuchModel(f"no model {asked.model}")
        summaries = (self._summary(asked.model, version) for version in reversed(versions))
        return messages.ModelDetail(
            model=asked.model,
            aliases=tuple(_alias_summary(each) for each in aliases.list_aliases(self._volume, asked.model)),
            versions=tuple(summary for summary in summaries if summary is not None),
        )

    def version(self, asked: messages.GetVersion) -> messages.VersionDetail:
        """One version's manifest. Raises model_store's NoSuchModel, NoSuchVersion, Corrupt."""
        manifest = reading.read_manifest(self._volume, asked.model, asked.version, self._verifier, wait_s=self._wait_s)
        content: dict[str, Any] = msgspec.json.decode(manifest.encode())
        naming = tuple(aliases.naming(self._volume, asked.model, asked.version))
        return messages.VersionDetail(model=asked.model, version=asked.version, aliases=naming, manifest=content)

    def piece(self, asked: messages.ReadFile) -> messages.FilePiece:
        """A piece of a file. Raises model_store's NoSuchModel, NoSuchVersion, NoSuchFile, Corrupt."""
        if asked.offset < 0 or asked.size_bytes < 0:
            raise errors.BadInput("A file is read from an offset and a size that are not negative.")
        size_bytes = min(asked.size_bytes, MAX_PIECE_BYTES)
        piece = reading.read_piece(
            self._volume, asked.model, asked.version, asked.file, self._verifier,
            offset=asked.offset, size_bytes=size_bytes,
        )  # fmt: skip
        return messages.FilePiece(data=piece.data, total_bytes=piece.total_bytes, sha256=piece.sha256)

    def _alias(self, model: str, alias: str) -> int:
        try:
            return aliases.read_alias(self._volume, model, alias).version
        except store.StoreError:
            return 0

    def _summary(self, model: str, version: int) -> messages.VersionSummary | None:
        try:
            manifest = reading.read_manifest(self._volume, model, version, self._verifier)
        except store.Corrupt:
            return messages.VersionSummary(version, "", "", "", None, "", CORRUPT, 0)
        except (store.NoSuchModel, store.NoSuchVersion):
            return None  # deleted since it was listed
        return messages.VersionSummary(
            version,
            manifest.created_at,
            manifest.estimator,
            manifest.task,
            manifest.score,
            manifest.scoring,
            manifest.runtime,
            manifest.size_bytes,
        )


def _alias_summary(alias: aliases.Alias) -> messages.AliasSummary:
    return messages.AliasSummary(alias.alias, alias.version, alias.previous, alias.revision, alias.changed_at)
