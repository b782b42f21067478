"""Fixtures of the model store's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store import signing
from model_store.volume import Volume
from tests.unit.model_store.disturbing import Store


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    signing.generate_keys(folder)
    return folder


@pytest.fixture
def store(tmp_path: Path, keys: Path) -> Store:
    root = tmp_path / "models"
    root.mkdir()
    return Store(Volume(root), signing.Signer(keys / "signing.key"), signing.Verifier(keys / "signing.pub"))


@pytest.fixture
def three(store: Store) -> Store:
    """A model with three versions."""
    for number in (1, 2, 3):
        store.publish(job_id=f"job-{number}")
    return store
