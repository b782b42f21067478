"""An Nginx for each module that asks it, with replicas that are as new for each test."""

from collections.abc import Iterator

import pytest

from tests.integration.nginx_edge import ANSWER, Edge, run


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with run(tmp_path_factory.mktemp("nginx")) as edge:
        yield edge


@pytest.fixture
def edge(running: Edge) -> Edge:
    for replica in running.replicas:
        replica.answer = ANSWER
        replica.requests.clear()
    return running
