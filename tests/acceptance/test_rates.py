"""Rates per key on a real stack: who asks ten times too often gets its rate, and nobody else notices."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent import futures

import httpx
import pytest

from tests.acceptance.conftest import KNOWN
from tests.acceptance.stack import Client, Stack

RATE = 20
LASTS_S = 6
OWN = {"model": KNOWN, "instances": [[5.1, 3.5, 1.4, 0.2]]}
TENSOR = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [5.1, 3.5, 1.4, 0.2]}


class Asker:
    """Asks ``asked`` (method, path, body) ``per_s`` times a second, and counts the answers of each status.

    A ``patient`` one never catches up: whatever stands still meanwhile, it asks no oftener than that.
    """

    def __init__(self, stack: Stack, key: str, per_s: float, asked: tuple[str, str, object], patient: bool) -> None:
        self.answers: Counter[int] = Counter()
        self.lasted_s = 0.0
        self._per_s, self._asked, self._patient = per_s, asked, patient
        headers = {"Authorization": f"Bearer {key}", "X-Request-Timeout-Ms": "20000"}
        self._client = httpx.Client(base_url=stack.url, headers=headers, timeout=30, trust_env=False)
        self._lock = threading.Lock()

    def run(self, lasts_s: float) -> None:
        """Ask for so long, or a little longer: ``lasted_s``."""
        began_s = time.monotonic()
        if self._patient:
            self._one_after_another(began_s + lasts_s)
        else:
            self._at_a_fixed_rate(began_s, int(lasts_s * self._per_s))
        self.lasted_s = time.monotonic() - began_s

    def _one_after_another(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            self._ask()
            time.sleep(1 / self._per_s)

    def _at_a_fixed_rate(self, began_s: float, count: int) -> None:
        """The next one is due then, whatever this one took; from a few connections."""
        with futures.ThreadPoolExecutor(8) as pool:
            for number in range(count):
                time.sleep(max(0.0, began_s + number / self._per_s - time.monotonic()))
                pool.submit(self._ask)

    def close(self) -> None:
        self._client.close()

    def _ask(self) -> None:
        method, path, body = self._asked
        try:
            status = self._client.request(method, path, json=body).status_code
        except httpx.HTTPError:
            status = 0
        with self._lock:
            self.answers[status] += 1


@contextlib.contextmanager
def more_connections(stack: Stack, count: int) -> Iterator[None]:
    """So many connections that have asked once and idle: Nginx keeps those for fifteen seconds."""
    with contextlib.ExitStack() as opened:
        for _ in range(count):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", stack.layout.port), timeout=10))
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        yield


@pytest.mark.parametrize(
    ("method", "path", "body", "connections"),
    [
        ("POST", "/predict", OWN, 0),
        ("POST", "/predict", OWN, 100),
        ("POST", f"/v2/models/{KNOWN}/infer", {"inputs": [TENSOR]}, 0),
        ("GET", "/models", None, 0),
    ],
    ids=["predictions-to-one-replica", "predictions-in-turns", "another-protocol", "other-calls-in-turns"],
)
def test_a_key_that_asks_ten_times_too_often_gets_its_rate_and_another_notices_nothing(
    guarded: Stack, request: pytest.FixtureRequest, method: str, path: str, body: object, connections: int
) -> None:
    def new_asker(name: str, per_s: float, *, patient: bool) -> Asker:
        owner = f"{name}-{request.node.callspec.id}"
        asked = {"owner": owner, "scopes": ["predict"], "rate_per_s": RATE}
        with Client(guarded.url, guarded.key) as client:
            key = client.call("POST", "/keys", 201, json=asked)["key"]
        return Asker(guarded, key, per_s, (method, path, body), patient)

    with (
        contextlib.closing(new_asker("greedy", 10 * RATE, patient=False)) as greedy,
        contextlib.closing(new_asker("modest", 0.8 * RATE, patient=True)) as modest,
        more_connections(guarded, connections),
    ):
        greedy.run(1)  # spends the second's worth that may come at once
        greedy.answers.clear()
        with futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda asker: asker.run(LASTS_S), (greedy, modest)))
    assert set(greedy.answers) == {200, 429}, greedy.answers
    # What it did not ask for while it stood still is missing, and a second's worth may have been saved up. A rate
    # that each of two replicas allows is twice as much, and one that counts a call twice half as much.
    assert 0.6 * RATE * greedy.lasted_s < greedy.answers[200] < 1.3 * RATE * (greedy.lasted_s + 1)
    assert greedy.answers.total() > 2 * RATE * greedy.lasted_s, "however slow the machine is, it asked too often"
    assert set(modest.answers) == {200}, modest.answers


def test_a_rate_is_made_by_the_command_and_told_in_a_problem_document(guarded: Stack) -> None:
    key = guarded.keys("create", "--owner", "slow", "--scope", "predict", "--rate", "0.05").strip()
    listed = guarded.keys("list").splitlines()
    assert [line.split()[3] for line in listed if key.split("_")[1] in line] == ["0.05/s"]
    headers = {"Authorization": f"Bearer {key}", "X-Request-Timeout-Ms": "20000"}
    with httpx.Client(base_url=guarded.url, headers=headers, timeout=30, trust_env=False) as client:
        began_s = time.monotonic()
        answers = [client.post("/predict", json=OWN) for _ in range(3)]
        asked_s = time.monotonic() - began_s
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    told = answers[1].json()
    assert (told["code"], told["hint"]) == ("rate_limited", "It may make 0.05 calls a second.")
    assert 19 - asked_s <= int(answers[1].headers["retry-after"]) <= 20
