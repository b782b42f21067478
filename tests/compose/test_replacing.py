"""The services of which there can be one only, replaced under load: what pauses, and that nothing is lost."""

import json
import socket
import sys
import threading
import time

import httpx
import pytest

from tests.acceptance.stack import Client
from tests.compose.containers import SERVICES, Compose, wait_for
from tests.compose.load import MODEL, Load, every_job_made_one_version

pytestmark = pytest.mark.usefixtures("model")

ANSWERED_S = 1.0
"""How long an answer may take that says the broker is away."""

SLOWER = 4
"""On a machine too slow for that: this many times what a prediction takes there."""

PAUSE_S = 30.0
"""How long a broker may be away; a quiet machine needs 6 s."""


@pytest.fixture
def load(compose: Compose, client: Client) -> Load:
    return Load(compose.url, {"authorization": client.http.headers["authorization"]})


def replaced(compose: Compose, load: Load, *services: str) -> None:
    """Replace under load, see new containers, and wait until jobs are accepted again."""
    before = {service: compose.containers(service) for service in services}
    with load:
        wait_for(lambda: load.jobs, "a training was accepted", 30)
        compose.run("python3", "-m", "deploy.compose.roll", *services, timeout_s=300)
        wait_for(compose.ready, "the stack is ready", 30)
        jobs = len(load.jobs)
        wait_for(lambda: len(load.jobs) > jobs, "a training is accepted again", 30)
        time.sleep(2)
    sys.stdout.write(f"{', '.join(services)}: {load.account()}\n")
    for service in services:
        assert len(compose.containers(service)) == 1
        assert not {*before[service]} & {*compose.containers(service)}
    now = every_container(compose)
    compose.up()
    assert every_container(compose) == now, "what was replaced is what `up` would start"


def every_container(compose: Compose) -> dict[str, list[str]]:
    return {service: sorted(compose.containers(service)) for service in SERVICES}


def test_a_new_database_is_noticed_by_no_prediction_and_loses_no_job(
    compose: Compose, client: Client, load: Load
) -> None:
    replaced(compose, load, "postgres")
    assert load.broken == []
    assert load.refused == []
    every_job_made_one_version(client, load.jobs)


def test_while_the_broker_is_replaced_predictions_are_refused_at_once_and_jobs_wait(
    compose: Compose, client: Client, load: Load
) -> None:
    replaced(compose, load, "rabbitmq")
    assert load.broken == []
    assert {*load.refused} <= {"503 broker_unavailable", "503 unroutable"}
    assert load.without_retry_after == 0
    assert len(load.refused) < load.rate_s * PAUSE_S
    assert load.refused_quantile_s(0.9) < max(ANSWERED_S, SLOWER * load.right_quantile_s(0.9))
    assert client.predict(model=MODEL, instances=[[5.1, 3.5, 1.4, 0.2]])["predictions"] == ["setosa"]
    every_job_made_one_version(client, load.jobs)


def test_a_password_that_is_made_anew_needs_a_new_broker_and_nothing_else(compose: Compose, client: Client) -> None:
    compose("run", "--rm", "-T", "secrets", "rm", "/secrets/api/broker.password")
    before = every_container(compose)
    told = compose.run("sh", "-c", "python3 -m deploy.compose.roll worker 2>&1 || echo refused")
    assert "deploy.compose.roll rabbitmq worker`" in told
    assert told.endswith("refused\n")
    assert every_container(compose) == before
    compose.run("python3", "-m", "deploy.compose.roll", "rabbitmq", timeout_s=300)
    wait_for(compose.ready, "the stack is ready", 30)
    assert client.predict(model=MODEL, instances=[[5.1, 3.5, 1.4, 0.2]])["predictions"] == ["setosa"]
    now = every_container(compose)
    assert {service for service in SERVICES if now[service] != before[service]} == {"rabbitmq"}


def test_a_new_nginx_leaves_what_is_on_its_way_to_the_old_one(compose: Compose, key: str) -> None:
    """A request whose body is half sent when its Nginx is told to end is answered, and its connection closed."""
    body = json.dumps({"model": MODEL, "instances": [[5.1, 3.5, 1.4, 0.2]]}).encode()
    head = (
        f"POST /predict HTTP/1.1\r\nHost: warren\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    [old] = compose.containers("nginx")
    rolling = threading.Thread(target=lambda: compose.run("python3", "-m", "deploy.compose.roll", "nginx"))
    with socket.create_connection(("127.0.0.1", compose.port), timeout=60) as connection:
        connection.sendall(head.encode() + body[:10])
        rolling.start()
        sent = 10

        def is_stopping() -> bool:
            # One byte now and then: a sender that is silent for 10 s would be sent away.
            nonlocal sent
            connection.sendall(body[sent : sent + 1])
            sent += 1
            return "shutting down" in compose.run("docker", "top", old, "-eo", "pid,args")

        wait_for(is_stopping, "the old Nginx is told to end", 60)
        assert httpx.get(f"{compose.url}/livez", trust_env=False).status_code == 200, "from the new one"
        connection.sendall(body[sent:])
        answer = connection.makefile("rb").read()
    rolling.join(90)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"setosa"' in answer
    assert b"Connection: close" in answer
    assert old not in compose.containers("nginx")


def test_what_arrives_while_there_is_no_nginx_waits_for_the_next_one(compose: Compose, client: Client) -> None:
    [nginx] = compose.containers("nginx")
    compose.run("docker", "kill", "-s", "KILL", nginx)
    answers: list[object] = []
    asking = threading.Thread(
        target=lambda: answers.append(client.predict(model=MODEL, instances=[[5.1, 3.5, 1.4, 0.2]])["predictions"])
    )
    asking.start()
    compose.run("docker", "start", nginx)
    asking.join(30)
    assert answers == [["setosa"]]
