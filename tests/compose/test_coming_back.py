"""What is gone comes back: each container killed under load, and the whole stack taken down and up."""

import sys
import time

import pytest

from tests.acceptance.stack import Client
from tests.compose.containers import SERVICES, Compose, wait_for
from tests.compose.load import TRAINING, Load, every_job_made_one_version

BACK_S = 20.0
AWAY_S = 3.0

UNNOTICED = ("api", "predictor", "trainer", "worker", "postgres")
"""Killing one of these fails no prediction: there is another one, or predictions don't need it."""


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_container_comes_back_and_no_job_is_lost(compose: Compose, client: Client, service: str) -> None:
    key = {"authorization": client.http.headers["authorization"]}
    with Load(compose.url, key, rate_s=50) as load:
        wait_for(lambda: load.jobs, "a training was accepted", 30)
        victim = compose.containers(service)[0]
        compose.run("docker", "kill", "-s", "KILL", victim)
        time.sleep(AWAY_S)
        compose.run("docker", "start", victim)
        returned = time.monotonic()
        wait_for(lambda: compose.health(victim) == "healthy" and compose.ready(), f"{service} is back", BACK_S)
        jobs = len(load.jobs)
        wait_for(lambda: len(load.jobs) > jobs, "a training is accepted again", BACK_S)
        time.sleep(3)
    sys.stdout.write(f"{service}: {load.account()}\n")
    assert load.last_failure - returned < BACK_S
    assert load.answered > 100
    told = [problem.split(" ", 1)[0] for problem in (*load.broken, *load.refused)]
    if service in UNNOTICED:
        assert told == []
    elif service == "rabbitmq":
        assert {*told} <= {"503", "504"}, "an answer, whatever happens"
    else:
        assert not {*told} & {"500", "200"}
    every_job_made_one_version(client, load.jobs)


def test_down_and_up_again_keeps_everything(compose: Compose, client: Client) -> None:
    client.trained(model="kept", **TRAINING)
    client.trained(model="kept", **TRAINING, promote="never")
    client.call("PUT", "/models/kept/aliases/stable", 200, json={"version": 1})
    uploaded = client.upload(b"a,b\n" + b"".join(b"%d,%d\n" % (n, n % 2) for n in range(50)))
    mine = client.call("POST", "/keys", 201, json={"owner": "shop", "scopes": ["predict"], "days": 1})["key"]

    def everything() -> list[object]:
        calls = ("/models/kept", "/jobs?model=kept", f"/datasets/{uploaded['dataset_id']}", "/keys")
        return [client.call("GET", path, 200) for path in calls]

    before = everything()
    compose("down")
    assert not [service for service in SERVICES if compose.containers(service)]
    compose.up()
    assert everything() == before
    with Client(compose.url, mine) as shop:
        assert shop.predict(model="kept", version="stable", instances=[[5.1, 3.5, 1.4, 0.2]])["version"] == 1
