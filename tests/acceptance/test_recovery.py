"""Each process in turn is killed while nothing is going on; the next training and prediction must work."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from deploy.native import strays
from tests.acceptance.stack import Client, Stack
from tests.rabbit import wait_until

VICTIMS = ["predictor-1", "trainer", "worker", "api-1", "nginx", "broker", "epmd"]
ROW = [[5.1, 3.5, 1.4, 0.2]]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_comes_back_and_the_next_request_works(
    stack: Stack, client: Client, victim: str, record_property: Callable[[str, object], None]
) -> None:
    killed = stack.processes()[victim].pid
    began = time.monotonic()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: not strays.alive(killed), "the process is gone")
    wait_until(lambda: is_back(stack, victim, killed), f"{victim} runs again", 30)
    wait_until(lambda: stack.ready(), "the stack is ready", 30)
    record_property("ready_again_s", round(time.monotonic() - began, 1))
    wait_until(lambda: all(map(stack.ready, stack.replicas)), "every replica is ready", 30)
    result = client.trained(model="survivor", dataset={"sample": "iris"}, target="target", estimator="GaussianNB")
    assert client.predict(model="survivor", version=result["version"], instances=ROW)["predictions"]


def is_back(stack: Stack, name: str, killed: int) -> bool:
    one = stack.processes()[name]
    return one.state == "RUNNING" and one.pid != killed
