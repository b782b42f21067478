"""What is sent again, when, and what an error says; on a real socket."""

from __future__ import annotations

import inspect
import pickle
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

import warren
from tests.unit.warren.conftest import QUICK
from tests.unit.warren.gateway import ACCEPTED, JOB, PREDICTED, Answer, ScriptedGateway, ok, problem
from warren import errors
from warren.patience import Retries, retry_after_s

ROW = [{"age": 31}]
SAMPLE = {"sample": "iris"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    "first",
    [
        Answer(cut=0),
        Answer(body=b'{"model": "m"' + b" " * 100, cut=20),
        problem(429, "overloaded"),
        problem(502, "replica_unavailable"),
        problem(503, "unroutable"),
        problem(504, "deadline_exceeded"),
        Answer(503, b"<html>a proxy</html>"),
    ],
    ids=["closed", "half", "429", "502", "503", "504", "proxy"],
)
def test_a_prediction_that_was_not_answered_is_sent_again(first: Answer) -> None:
    with ScriptedGateway(first, PREDICTED) as gateway, warren.Client(gateway.url, retries=QUICK) as client:
        answer = client.predict("m", ROW, version="champion", probabilities=True)
        assert (answer.version, answer.predictions) == (3, ["yes"])
        assert len(gateway.asked) == 2
        assert gateway.asked[0].body == gateway.asked[1].body
        assert gateway.asked[0].json == {
            "model": "m",
            "version": "champion",
            "probabilities": True,
            "instances": [{"age": 31}],
        }
        assert gateway.asked[0].headers["x-request-timeout-ms"] == "10000"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, errors.InvalidRequest), (401, errors.Unauthenticated), (403, errors.Forbidden), (404, errors.NotFound),
     (409, errors.Conflict), (422, errors.InvalidRequest), (500, errors.ServerFault), (507, errors.ServerFault)],
)  # fmt: skip
def test_an_answer_is_an_answer_and_nothing_is_sent_again(status: int, kind: type[errors.ApiError]) -> None:
    with ScriptedGateway(problem(status, "some_code")) as gateway, warren.Client(gateway.url, retries=QUICK) as client:
        with pytest.raises(kind) as caught:
            client.predict("m", ROW)
        assert len(gateway.asked) == 1
        assert (caught.value.status, caught.value.code, caught.value.request_id) == (status, "some_code", "req-1")


def test_an_error_carries_the_places_and_the_hint_and_crosses_processes() -> None:
    places = [{"at": "instances[0].age", "problem": "must be a number"}]
    refused = problem(422, "bad_input", errors=places, hint="Send numbers without quotes.")
    with (
        ScriptedGateway(refused) as gateway,
        warren.Client(gateway.url) as client,
        pytest.raises(warren.InvalidRequest) as caught,
    ):
        client.predict("m", ROW)
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert error.field == "instances[0].age"
        assert error.hint == "Send numbers without quotes."
        assert str(error) == (
            "It is so. instances[0].age must be a number Send numbers without quotes. (bad_input, 422, request req-1)"
        )


def test_no_copy_leaves_before_the_time_that_the_gateway_asks_for() -> None:
    with ScriptedGateway(problem(503, "unroutable", retry_after="1"), PREDICTED) as gateway:
        with warren.Client(gateway.url, retries=QUICK) as client:
            client.predict("m", ROW)
        assert gateway.asked[1].at - gateway.asked[0].at >= 1.0


def test_a_gateway_that_asks_for_more_patience_than_there_is_gets_no_copy() -> None:
    with ScriptedGateway(problem(429, "overloaded", retry_after="600")) as gateway:
        with warren.Client(gateway.url, retries=QUICK) as client, pytest.raises(warren.Overloaded) as caught:
            client.predict("m", ROW)
        assert caught.value.retry_after_s == 600
        assert len(gateway.asked) == 1


def test_copies_are_bounded() -> None:
    with ScriptedGateway(problem(503, "unroutable")) as gateway, warren.Client(gateway.url, retries=QUICK) as client:
        with pytest.raises(warren.Unavailable):
            client.predict("m", ROW)
        assert len(gateway.asked) == QUICK.attempts


def test_a_training_is_one_job_however_often_it_is_sent() -> None:
    with ScriptedGateway(Answer(cut=0), problem(503, "broker_unavailable"), ACCEPTED) as gateway:
        with warren.Client(gateway.url, retries=QUICK) as client:
            job = client.train("m", SAMPLE, "target", estimator="GaussianNB", promote="always")
        assert (job.id, job.status) == ("a" * 32, "queued")
        keys = {asked.headers["idempotency-key"] for asked in gateway.asked}
        assert len(gateway.asked) == 3
        assert len(keys) == 1
        assert gateway.asked[0].json == {
            "model": "m",
            "dataset": SAMPLE,
            "target": "target",
            "estimator": "GaussianNB",
            "promote": "always",
        }


def test_two_trainings_have_two_keys() -> None:
    with ScriptedGateway(ACCEPTED) as gateway, warren.Client(gateway.url) as client:
        client.train("m", SAMPLE, "target")
        client.train("m", SAMPLE, "target")
        client.train("m", SAMPLE, "target", key="mine")
        first, second, third = (asked.headers["idempotency-key"] for asked in gateway.asked)
        assert first != second
        assert third == "mine"


def test_nothing_else_is_sent_again() -> None:
    asking = [
        lambda client: client.models(),
        lambda client: client.rollback("m"),
        lambda client: client.set_alias("m", "champion", 2),
        lambda client: client.delete_model("m"),
        lambda client: client.create_key("ann", ["predict"]),
    ]
    with ScriptedGateway(problem(503, "unroutable")) as gateway, warren.Client(gateway.url, retries=QUICK) as client:
        for ask in asking:
            with pytest.raises(warren.Unavailable):
                ask(client)
        assert len(gateway.asked) == len(asking)


def test_a_gateway_that_is_not_there_is_named_with_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with warren.Client(url, retries=QUICK) as client, pytest.raises(warren.ConnectionFailed) as caught:
        client.models()
    assert url in str(caught.value)
    assert "make up" in str(caught.value)


def test_an_answer_that_is_late_is_not_waited_for() -> None:
    with ScriptedGateway(Answer(late_s=30)) as gateway:
        with warren.Client(gateway.url, retries=Retries(attempts=1)) as client:
            began = time.monotonic()
            with pytest.raises(warren.TimedOut):
                client.predict("m", ROW, timeout_s=0.01)
            assert time.monotonic() - began < 20
        assert gateway.asked[0].headers["x-request-timeout-ms"] == "10"


@pytest.mark.parametrize(
    "answer", [Answer(body=b"<html>"), ok({"models": 3}), Answer(302, b"", {"location": "https://elsewhere"})]
)
def test_what_is_no_gateway_is_told_apart(answer: Answer) -> None:
    with (
        ScriptedGateway(answer) as gateway,
        warren.Client(gateway.url) as client,
        pytest.raises(warren.UnexpectedAnswer),
    ):
        client.models()


def test_a_key_is_sent_and_shown_nowhere() -> None:
    with ScriptedGateway(ok({"models": []})) as gateway, warren.Client(gateway.url, "wk_12345678_secret") as client:
        assert list(client.models()) == []
        assert gateway.asked[0].headers["authorization"] == "Bearer wk_12345678_secret"
        assert "secret" not in repr(client._transport.target)


def test_closing_a_client_ends_its_pauses() -> None:
    import threading

    failed: list[BaseException] = []
    with ScriptedGateway(problem(503, "unroutable", retry_after="200")) as gateway:
        client = warren.Client(gateway.url, retries=Retries(total_s=600, longest_pause_s=300))

        def ask() -> None:
            try:
                client.predict("m", ROW)
            except warren.WarrenError as error:
                failed.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        while not gateway.asked:
            time.sleep(0.01)
        client.close()
        thread.join(30)
        assert not thread.is_alive()
    assert isinstance(failed[0], warren.WarrenError)


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 11, 26, tzinfo=UTC)
    assert retry_after_s("3") == 3.0
    assert retry_after_s(format_datetime(now + timedelta(seconds=5), usegmt=True), now) == 5.0
    assert retry_after_s(format_datetime(now - timedelta(seconds=5), usegmt=True), now) == 0.0
    assert retry_after_s(None) is None
    assert retry_after_s("soon") is None


def test_pauses_grow_and_are_drawn_by_lot_within_the_limits() -> None:
    policy = Retries(attempts=5, total_s=10, first_pause_s=1, longest_pause_s=4)
    error = errors.ConnectionFailed("gone")
    for attempt, longest in ((1, 1), (2, 2), (3, 4), (4, 4)):
        drawn = [policy.pause_s(error, attempt, 0) or 0 for _ in range(200)]
        assert longest / 2 <= min(drawn) < max(drawn) <= longest
    assert policy.pause_s(error, 5, 0) is None
    assert policy.pause_s(error, 1, 9.9) is None
    assert policy.pause_s(errors.InvalidRows("no"), 1, 0) is None


async def test_the_asynchronous_client_does_the_same() -> None:
    with ScriptedGateway(Answer(cut=0), problem(503, "unroutable", retry_after="1"), PREDICTED) as gateway:
        async with warren.AsyncClient(gateway.url, retries=QUICK) as client:
            assert (await client.predict("m", ROW)).predictions == ["yes"]
        assert gateway.asked[2].at - gateway.asked[1].at >= 1.0
    with ScriptedGateway(Answer(cut=0), ACCEPTED) as gateway:
        async with warren.AsyncClient(gateway.url, retries=QUICK) as client:
            assert (await client.train("m", SAMPLE, "target")).id == "a" * 32
        assert len({asked.headers["idempotency-key"] for asked in gateway.asked}) == 1
    with ScriptedGateway(problem(503, "unroutable")) as gateway:
        async with warren.AsyncClient(gateway.url, retries=QUICK) as client:
            with pytest.raises(warren.Unavailable):
                await client.models()
        assert len(gateway.asked) == 1


def test_both_clients_have_the_same_calls() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in vars(kind).items()
            if not name.startswith("_") and inspect.isfunction(member)
        }

    ours = public(warren.Client)
    ours.pop("ping")
    assert public(warren.AsyncClient) == ours
    assert public(warren.AsyncJob) == public(warren.Job)


def test_a_job_is_told_by_its_id() -> None:
    with ScriptedGateway(ok(JOB)) as gateway, warren.Client(gateway.url) as client:
        job = client.job("a" * 32)
        assert (job.status, job.ended, job.result) == ("running", False, None)
        assert "running" in repr(job)
