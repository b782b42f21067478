"""Fixtures of the trainer's tests: a model volume is the model store's, the broker wire's own in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.model_store.conftest import keys, store, three
from wire.client import RpcClient
from wire.memory import MemoryBroker

__all__ = ["keys", "store", "three"]


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def rpc(broker: MemoryBroker) -> Iterator[RpcClient]:
    client = broker.client("trainer", "trainer")
    client.start()
    assert client.wait_connected(10)
    yield client
    client.close()
