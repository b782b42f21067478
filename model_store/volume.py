"""Where things are on the model volume, and which versions are there.

Paths are built only here, only from checked names::

    <root>/<model>/v00000012/       one version, immutable
    <root>/<model>/aliases/         <alias>.json, and .log/ with the changes
    <root>/<model>/by-job/<job_id>  the version of a job, or its tombstone
    <root>/<model>/.tmp/ .trash/    never read

A deleted version leaves its folder with the marker ``deleted`` in it, so its number names one
artefact for ever.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from model_store import durable, errors, names


@dataclass(frozen=True)
class Volume:
    """The model volume mounted at ``root``."""

    root: Path

    def model(self, model: str) -> Path:
        """The folder of a model."""
        return self.root / names.check_model(model)

    def version(self, model: str, version: int) -> Path:
        """The folder of a version."""
        return self.model(model) / names.version_folder(version)

    def aliases(self, model: str) -> Path:
        """The folder of a model's aliases."""
        return self.model(model) / "aliases"

    def by_job(self, model: str) -> Path:
        """The folder of a model's job index."""
        return self.model(model) / "by-job"

    def tmp(self, model: str) -> Path:
        """The folder of drafts and half-made files."""
        return self.model(model) / ".tmp"

    def trash(self, model: str) -> Path:
        """The folder of what was deleted and may still be open somewhere."""
        return self.model(model) / ".trash"

    def prepare(self, model: str) -> None:
        """Make the folders of a model that are missing."""
        folder = durable.make_folder(self.model(model))
        for name in (".tmp", ".trash", "aliases", "aliases/.log", "by-job"):
            durable.make_folder(folder / name)

    def folders(self) -> list[str]:
        """The names that have a folder, by name; a model without a version may be among them."""
        return [name for name in durable.entries(self.root) if _is_model(name) and (self.root / name).is_dir()]

    def models(self) -> list[str]:
        """The models that have a version, by name."""
        return [name for name in self.folders() if self.versions(name)]

    def versions(self, model: str) -> list[int]:
        """The versions of a model, ascending; none for a model that is not there."""
        return [number for number in self.numbers(model) if not self.is_deleted(model, number)]

    def numbers(self, model: str) -> list[int]:
        """Every number ever taken and not yet forgotten, deleted ones too, ascending."""
        entries = durable.entries(self.model(model))
        return sorted(number for entry in entries if (number := names.version_number(entry)) is not None)

    def is_deleted(self, model: str, version: int) -> bool:
        """Whether the number is taken by a version that was deleted."""
        return os.path.lexists(self.version(model, version) / names.DELETED)

    def has_version(self, model: str, version: int) -> bool:
        """Whether the version is there (sound or not)."""
        return os.path.lexists(self.version(model, version)) and not self.is_deleted(model, version)

    def require(self, model: str, version: int) -> None:
        """Raise errors.NoSuchModel or errors.NoSuchVersion unless the version is there."""
        if not self.has_version(model, version):
            raise self.missing(model, version)

    def missing(self, model: str, version: int) -> errors.StoreError:
        """The error that says why a version is not there."""
        if not self.versions(model):
            return errors.NoSuchModel(f"no model {model}")
        return errors.NoSuchVersion(f"{model} has no version {version}")

    def is_nearly_full(self) -> bool:
        """Whether less than a tenth of the volume's blocks or inodes is free."""
        status = os.statvfs(self.root)
        return status.f_bavail * 10 < status.f_blocks or status.f_favail * 10 < status.f_files

    def room(self) -> tuple[int, int]:
        """Bytes that are free to this process, and all bytes. Raises OSError."""
        status = os.statvfs(self.root)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize

    def is_readable(self) -> bool:
        """Whether the names on the volume can be listed now."""
        try:
            os.scandir(self.root).close()
        except OSError:
            return False
        return True

    def check_writable(self) -> None:
        """Raise OSError unless a file can be made on the volume; a trainer's readiness."""
        durable.clock_s(self.root)


def _is_model(name: str) -> bool:
    try:
        names.check_model(name)
    except errors.BadName:
        return False
    return True
