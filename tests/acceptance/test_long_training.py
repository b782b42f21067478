"""A training far longer than the broker's acknowledgement timeout, through the whole stack.

The timeout is 2 s here instead of 30 minutes, and a training lasts ten times that by its setting,
so this is what a training of hours meets.
"""

from collections.abc import Iterator

import pytest

from deploy.native.programs import node
from tests.acceptance.stack import Client, Stack

TIMEOUT_MS, TICK_MS, TRAINING_S = 2_000, 500, 20


@pytest.fixture
def slow() -> Iterator[Stack]:
    """A stack whose trainings last and whose broker is impatient."""
    stack = Stack.fresh(WARREN_TRAIN__PACE_S=str(TRAINING_S))
    try:
        stack.up()
        broker = node(stack.layout, stack.block)
        broker.ctl("eval", f"application:set_env(rabbit, consumer_timeout, {TIMEOUT_MS}).")
        broker.ctl("eval", f"application:set_env(rabbit, channel_tick_interval, {TICK_MS}).")
        # Connections made from now on have the short timeout.
        broker.ctl("close_all_connections", "-p", "warren", "shorter timeout")
        stack.up()
        yield stack
    finally:
        stack.remove()


def test_a_training_longer_than_the_brokers_timeout_needs_one_attempt(slow: Stack) -> None:
    with Client(slow.url) as client:
        job = client.finished(client.train(model="slow", dataset={"sample": "iris"}, target="target"))
        assert (job["status"], job["attempts"]) == ("succeeded", 1)
        assert job["result"]["version"] == 1
        assert len(client.call("GET", "/models/slow", 200)["versions"]) == 1
        assert client.predict(model="slow", instances=[[5.1, 3.5, 1.4, 0.2]])["version"] == 1
    for name in ("worker", "trainer", "broker"):
        log = (slow.layout.logs / f"{name}.log").read_text()
        assert "consumer ack timed out" not in log.lower(), name
        assert "PRECONDITION_FAILED" not in log, name
