"""Loads of a registry, counted and held back, and a deadline that none of them meets."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from predictor import loaded
from predictor import registry as registering
from wire.deadlines import Deadline


def soon() -> Deadline:
    return Deadline.after(600)


def count_loads(monkeypatch: pytest.MonkeyPatch, hold: threading.Event | None = None) -> list[int]:
    """Counts the versions that are made ready; ``hold`` delays each."""
    loads: list[int] = []
    prepare = loaded.prepare

    def counted(artefact: Any) -> Any:
        loads.append(artefact.manifest.version)
        if hold is not None:
            assert hold.wait(15)
        return prepare(artefact)

    monkeypatch.setattr(registering, "prepare", counted)
    return loads
