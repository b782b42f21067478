"""Many kinds of predictions at once through the whole stack; ``make mixed`` is the same with 100,000."""

import re

import httpx

from loadtests.mixed import run
from tests.acceptance.stack import Client, Stack
from tests.rabbit import wait_until


def gauge(stack: Stack, name: str) -> list[float]:
    """The value of a metric in each replica."""
    texts = [
        httpx.get(f"http://127.0.0.1:{stack.block.metrics(replica)}/metrics", timeout=30, trust_env=False).text
        for replica in ("api-1", "api-2")
    ]
    return [float(found) for text in texts for found in re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)]


def test_two_thousand_mixed_requests_get_their_own_and_the_right_answers(stack: Stack, client: Client) -> None:
    """Compared with scikit-learn: several models and versions, bad rows, unknown names, clients that leave."""
    board = run.mixed(stack.url, requests=2_000, connections=64)
    assert board.clean, str(board)
    assert sum(board.right.values()) + board.left == 2_000
    assert board.right["predict"] > 1_000
    assert board.right["bad row"] > 50
    assert board.left > 30
    held = ("warren_predict_held", "warren_http_in_flight")
    wait_until(lambda: all(gauge(stack, name) == [0, 0] for name in held), "nobody who left is waited for")
    assert client.predict(model="mix-scores", instances=[[0.1, 0.2, 0.3, 0.4]])["version"] == 2
