from collections.abc import Iterator

import pytest

from tests.acceptance.stack import Client, Stack


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--upload-mb", type=int, default=100, help="size of the large upload in the acceptance tests")


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """One stack for the journey and what else leaves it whole."""
    stack = Stack.fresh()
    try:
        stack.up()
        yield stack
    finally:
        stack.remove()


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url) as client:
        yield client
