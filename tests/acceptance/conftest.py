import contextlib
import os
from collections.abc import Iterator

import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton

from tests.acceptance.model_kinds import TrainedKinds
from tests.acceptance.stack import FREE, Client, Stack, coverage


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--upload-mb", type=int, default=100, help="size of the large upload in the acceptance tests")
    parser.addoption("--examples", type=int, default=4, help="generated inputs of each kind for each call of the API")


KNOWN = "known"


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    """One stack for the journey and what else leaves it whole.

    With WARREN_TEST_URL (and WARREN_TEST_KEY, where keys are needed) it is one that runs already,
    however it was started; it is left running. Tests that look inside a native stack need their own.
    """
    url = os.environ.get("WARREN_TEST_URL")
    if url:
        yield Stack.elsewhere(url, os.environ.get("WARREN_TEST_KEY", ""))
        return
    stack = Stack.fresh(WARREN_GRPC_PORT=FREE, **coverage())
    try:
        stack.up()
        yield stack
    finally:
        stack.remove()


@pytest.fixture(scope="module")
def guarded() -> Iterator[Stack]:
    """A stack of its own that wants keys, with an administrator's key and the model KNOWN."""
    stack = Stack.fresh(WARREN_API__KEYS="required")
    try:
        stack.key = stack.keys("create", "--owner", "boss", "--scope", "admin").strip()
        stack.up()
        with Client(stack.url, stack.key) as client:
            client.trained(model=KNOWN, dataset={"sample": "iris"}, target="target", estimator="GaussianNB")
        yield stack
    finally:
        stack.remove()


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url, stack.key) as client:
        yield client


@pytest.fixture
def replicas(stack: Stack) -> Iterator[list[Client]]:
    """Two replicas, past Nginx where they can be reached."""
    with contextlib.ExitStack() as entered:
        yield [entered.enter_context(Client(address, stack.key)) for address in stack.replicas]


@pytest.fixture(scope="package")
def trained_kinds(stack: Stack) -> TrainedKinds:
    """Models that several modules ask, trained once for all that share the stack."""
    return TrainedKinds(stack)


@pytest.fixture(scope="module")
def server(stack: Stack) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(stack.url.removeprefix("http://"))
    yield client
    client.close()


@pytest.fixture(scope="module")
def grpc_server(stack: Stack) -> Iterator[triton_grpc.InferenceServerClient]:
    client = triton_grpc.InferenceServerClient(stack.grpc)
    yield client
    client.close()
