"""The rate that Nginx allows an address, and what it tells one that asks too often."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.integration.nginx_edge import Edge, run

RATE = 20
TOO_OFTEN = "This address asks more often than it may; try again later."
ELSEWHERE = "127.0.0.2"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with run(tmp_path_factory.mktemp("limited"), WARREN_ADDRESS_RATE=str(RATE)) as edge:
        yield edge


def refused_by_the_model(sent_at_s: list[float]) -> int:
    """A second's worth may come at once, and RATE a second after that."""
    excess, last_s, refused = -1.0, sent_at_s[0], 0
    for at_s in sent_at_s:
        would_be = max(0.0, excess - RATE * (at_s - last_s) + 1)
        if would_be > RATE:
            refused += 1
        else:
            excess, last_s = would_be, at_s
    return refused


def test_an_address_that_asks_ten_times_too_often_gets_its_rate_and_others_notice_nothing(limited: Edge) -> None:
    sent_at_s: list[float] = []
    answers: list[int] = []
    others: list[int] = []
    began_s = time.monotonic()
    while (now_s := time.monotonic()) < began_s + 4 or (len(others) <= 10 and now_s < began_s + 60):
        sent_at_s.append(now_s)
        answers.append(limited.ask("POST", "/predict", b"{}")[0])
        if len(answers) % 20 == 0:
            others.append(limited.ask("POST", "/predict", b"{}", come_from=ELSEWHERE)[0])
        # A fixed rate: the next one is due then, whatever this one took.
        time.sleep(max(0.0, began_s + len(answers) / (10 * RATE) - time.monotonic()))
    assert set(answers) == {200, 429}
    assert answers.count(429) / len(answers) == pytest.approx(refused_by_the_model(sent_at_s) / len(answers), rel=0.05)
    assert len(others) > 10
    assert set(others) == {200}


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/predict", "application/problem+json", {"status": 429, "code": "rate_limited", "title": "Too Many Requests"}),
        ("/v2/models/m/infer", "application/json", {"error": TOO_OFTEN}),
        ("/v1/models/m:predict", "application/json", {"error": TOO_OFTEN}),
        ("/mlflow/m/invocations", "application/json", {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": TOO_OFTEN}),
    ],
)
def test_who_asks_too_often_is_told_so_in_the_form_of_its_protocol(
    limited: Edge, path: str, kind: str, said: dict[str, object]
) -> None:
    answers = (limited.ask("POST", path, b"{}") for _ in range(100 * RATE))
    _, headers, body = next(answer for answer in answers if answer[0] == 429)
    assert (headers["content-type"], headers["retry-after"]) == (kind, "1")
    assert headers["x-content-type-options"] == "nosniff"
    told = json.loads(body)
    assert {name: told[name] for name in said} == said


def test_health_is_not_counted_and_without_a_rate_nothing_is(limited: Edge, edge: Edge) -> None:
    assert {limited.ask("GET", "/readyz")[0] for _ in range(4 * RATE)} == {200}
    assert {edge.ask("GET", "/models")[0] for _ in range(4 * RATE)} == {200}
