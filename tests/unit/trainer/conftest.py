"""Fixtures of the trainer's tests: a model volume is the model store's."""

from __future__ import annotations

from tests.unit.model_store.conftest import keys, store, three

__all__ = ["keys", "store", "three"]
