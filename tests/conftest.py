"""What every test may ask for: a private RabbitMQ node, and a virtual host of its own on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rabbit import Rabbit
from wire import settings

CONFIRM_S = 10.0
"""A broker on a busy machine may stand still for seconds, which is no failure of what a test is about."""


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    """One node for the whole run. Without RabbitMQ on the machine the tests that need it fail."""
    rabbit = Rabbit(tmp_path_factory.mktemp("rabbitmq"))
    try:
        rabbit.start()
        yield rabbit
    finally:
        rabbit.stop()


@pytest.fixture
def broker(rabbitmq: Rabbit) -> Iterator[settings.Broker]:
    """A virtual host with the whole topology, for one test."""
    with rabbitmq.fresh_vhost(confirm_timeout_s=CONFIRM_S) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def module_broker(rabbitmq: Rabbit) -> Iterator[settings.Broker]:
    """The same for one module, where starting services for every test would take too long."""
    with rabbitmq.fresh_vhost(confirm_timeout_s=CONFIRM_S) as fresh:
        yield fresh
