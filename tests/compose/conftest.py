import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.stack import Client
from tests.compose.containers import Compose
from tests.compose.load import MODEL, TRAINING

PROJECT = "warrentest"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--predictions", type=int, default=4000, help="predictions of each Compose test under load")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("compose")
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def compose() -> Iterator[Compose]:
    """The whole stack, built and started from nothing; nothing is left of it but its images.

    WARREN_TEST_PROJECT names one that runs already and stays.
    """
    running = os.environ.get("WARREN_TEST_PROJECT")
    compose = Compose(running or PROJECT, int(os.environ.get("WARREN_PORT", "8538")))
    if running:
        yield compose
        return
    try:
        compose("down", "-v", "--remove-orphans")
        compose("build", timeout_s=850)
        compose.up()
        yield compose
    finally:
        keep = os.environ.get("WARREN_TEST_KEEP")
        if keep:
            compose.keep_logs(Path(keep))
        compose("down", "-v", "--remove-orphans")


@pytest.fixture(scope="session")
def key(compose: Compose) -> str:
    """A key that may do everything, of an owner of its own: one has two keys at most."""
    create = ("python", "-m", "api.keys", "create", "--owner", f"tests-{uuid.uuid4().hex[:12]}", "--scope", "admin")
    return compose("exec", "-T", "api", *create).strip()


@pytest.fixture(scope="module")
def model(compose: Compose, key: str) -> None:
    """What the load asks for."""
    with Client(compose.url, key) as client:
        client.trained(model=MODEL, **TRAINING)


@pytest.fixture
def client(compose: Compose, key: str) -> Iterator[Client]:
    with Client(compose.url, key) as client:
        yield client
