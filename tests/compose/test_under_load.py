"""Scaling and rolling updates while a hundred predictions a second and trainings come in: nothing fails."""

import json
import sys
import time
from collections.abc import Callable

import pytest

from tests.acceptance.stack import Client
from tests.compose.containers import Compose, wait_for
from tests.compose.grpc_calls import Calls
from tests.compose.load import Load, every_job_made_one_version

pytestmark = pytest.mark.usefixtures("model")


@pytest.fixture
def load(compose: Compose, client: Client) -> Load:
    return Load(compose.url, {"authorization": client.http.headers["authorization"]})


@pytest.fixture
def calls(compose: Compose, client: Client) -> Calls:
    return Calls(compose.grpc, client.http.headers["authorization"])


def nothing_failed(load: Load, calls: Calls, client: Client) -> None:
    sys.stdout.write(f"{load.account()}; over gRPC {calls.answered:,}\n")
    assert calls.broken == []
    assert calls.answered > load.sent / 50
    assert load.broken == []
    assert load.refused == []
    assert load.jobs
    every_job_made_one_version(client, load.jobs)


def addresses(compose: Compose, service: str, network: str) -> set[str]:
    found = [compose.inspect(container)["NetworkSettings"]["Networks"] for container in compose.containers(service)]
    return {one[f"{compose.project}_{network}"]["IPAddress"] for one in found}


def asked_lately(compose: Compose, client: Client) -> set[str]:
    """The replicas that answered Nginx in the last seconds; predictions of few clients all go to one."""
    for _ in range(20):
        client.call("GET", "/models", 200)
    lines = compose.run("docker", "logs", "--since", "3s", *compose.containers("nginx")).splitlines()
    told = [json.loads(line)["replica"] for line in lines if line.startswith("{")]
    return {replica.rpartition(" ")[2].partition(":")[0] for replica in told if replica}


def repeated(action: Callable[[], object], load: Load, predictions: int) -> None:
    """The action at least once, and until the load has sent enough."""
    action()
    while load.sent < predictions:
        action()


def test_replicas_and_predictors_come_and_go_and_nobody_notices(
    compose: Compose, client: Client, load: Load, calls: Calls, request: pytest.FixtureRequest
) -> None:
    def there_and_back() -> None:
        compose("up", "-d", "--wait", "--scale", "api=5", "--scale", "predictor=4")
        more = addresses(compose, "api", "edge")
        assert len(more) == 5
        wait_for(lambda: asked_lately(compose, client) == more, "Nginx asks every new replica", 20)
        compose("up", "-d", "--wait", "--scale", "api=3", "--scale", "predictor=2")
        fewer = addresses(compose, "api", "edge")
        assert len(fewer) == 3
        wait_for(lambda: asked_lately(compose, client) == fewer, "Nginx has forgotten the others", 20)

    with load, calls:
        repeated(there_and_back, load, request.config.getoption("predictions"))
        time.sleep(2)
    nothing_failed(load, calls, client)


def test_every_service_is_replaced_one_container_at_a_time_and_nobody_notices(
    compose: Compose, client: Client, load: Load, calls: Calls, request: pytest.FixtureRequest
) -> None:
    services = ("predictor", "trainer", "worker", "api", "nginx")
    before = {service: {*compose.containers(service)} for service in services}
    with load, calls:
        repeated(
            lambda: compose.run("python3", "-m", "deploy.compose.roll", timeout_s=600),
            load,
            request.config.getoption("predictions"),
        )
        time.sleep(2)
    after = {service: {*compose.containers(service)} for service in services}
    assert {service: len(found) for service, found in after.items()} == {
        "predictor": 2,
        "trainer": 1,
        "worker": 1,
        "api": 3,
        "nginx": 1,
    }
    assert not [service for service in services if before[service] & after[service]], "every container is a new one"
    compose.up()
    assert {service: {*compose.containers(service)} for service in services} == after, "and what `up` would start"
    nothing_failed(load, calls, client)
