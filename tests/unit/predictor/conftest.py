from __future__ import annotations

from pathlib import Path

import pytest

from predictor.references import References
from predictor.registry import Registry
from tests.unit.predictor.artefacts import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf.make(tmp_path)


@pytest.fixture
def registry(shelf: Shelf) -> Registry:
    return Registry(shelf.volume, shelf.verifier, 10**8)


@pytest.fixture
def references(shelf: Shelf, registry: Registry) -> References:
    return References(shelf.volume, registry, remote=False)
