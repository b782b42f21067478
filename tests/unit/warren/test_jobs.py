"""Watching a job over a stream that breaks, and how a wait ends."""

from __future__ import annotations

import time
from typing import Any

import pytest

import warren
from tests.unit.warren.gateway import ACCEPTED, JOB, Answer, Asked, ScriptedGateway, ok, problem, stream
from warren import events, transport
from warren.patience import Retries

RESULT = {"model": "m", "version": 4, "metrics": {"f1": 0.9}, "promoted": True, "promotion_reason": "first"}
SSE = {"content-type": "text/event-stream"}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking a stream up again waits a moment only."""
    quick = Retries(attempts=4, total_s=20, first_pause_s=0.01, longest_pause_s=2)
    monkeypatch.setattr("warren.transport.FOLLOWING", quick)
    monkeypatch.setattr("warren.async_transport.FOLLOWING", quick)


def said(status: str, fraction: float, **more: Any) -> dict[str, Any]:
    progress = {"fraction": fraction, "stage": "fit", "message": ""}
    return {"job_id": "a" * 32, "status": status, "attempts": 1, "progress": progress, **more}


FIRST = stream((1, "queued", said("queued", 0)), (2, "running", said("running", 0.1)), tail="id: 3\nevent: prog")
REST = stream((2, "running", said("running", 0.1)), (3, "progress", said("running", 0.6)))
LAST = stream((4, "succeeded", said("succeeded", 1, result=RESULT)))


def events_of(*bodies: bytes) -> list[Answer]:
    return [Answer(200, body, SSE) for body in bodies]


def test_a_broken_stream_goes_on_behind_its_last_event() -> None:
    seen: list[float] = []
    script = [ACCEPTED, *events_of(FIRST), Answer(cut=0), *events_of(REST, LAST)]
    with ScriptedGateway(*script) as gateway, warren.Client(gateway.url) as client:
        job = client.train("m", {"sample": "iris"}, "target")
        result = job.wait(on_progress=lambda progress: seen.append(progress.fraction))
        assert (result.version, result.metrics, result.promoted) == (4, {"f1": 0.9}, True)
        assert job.status == "succeeded"
        assert job.result == result
        assert seen == [0, 0.1, 0.6, 1]
        resumed = [asked.headers.get("last-event-id") for asked in gateway.asked[1:]]
        assert resumed == [None, "2", "2", "3"]


def test_a_stream_that_says_there_is_no_more_ends() -> None:
    ended = ok({**JOB, "status": "succeeded", "result": RESULT})
    with ScriptedGateway(ok(JOB), Answer(204, b""), ended) as gateway, warren.Client(gateway.url) as client:
        assert client.job("a" * 32).wait().version == 4


def test_a_failed_and_a_cancelled_job_are_exceptions_with_the_reason() -> None:
    failed = stream((1, "failed", said("failed", 0.2, error={"code": "training_failed", "message": "One class."})))
    with ScriptedGateway(ok(JOB), *events_of(failed)) as gateway, warren.Client(gateway.url) as client:
        with pytest.raises(warren.JobFailed, match="One class") as caught:
            client.job("a" * 32).wait()
        assert caught.value.code == "training_failed"
        assert caught.value.job.attempts == 1
    with ScriptedGateway(ok({**JOB, "status": "cancelled"})) as gateway, warren.Client(gateway.url) as client:
        with pytest.raises(warren.JobCancelled):
            client.job("a" * 32).wait()
        assert len(gateway.asked) == 1


def test_a_wait_has_an_end_and_the_job_goes_on() -> None:
    def slowly(_asked: Asked) -> Answer:
        return Answer(200, b": alive\n\n", SSE, late_s=0.2)

    with ScriptedGateway(ok(JOB), slowly) as gateway, warren.Client(gateway.url) as client:
        began = time.monotonic()
        with pytest.raises(warren.TimedOut, match="goes on"):
            client.job("a" * 32).wait(timeout_s=0.5)
        assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(429, "overloaded"), warren.Overloaded),
        (Answer(200, b"retry: 1000\n\n", SSE), warren.ConnectionFailed),
    ],
    ids=["refused", "empty"],
)
async def test_streams_that_bring_nothing_are_given_up(answer: Answer, kind: type[Exception]) -> None:
    with ScriptedGateway(ok(JOB), answer) as gateway, warren.Client(gateway.url) as client:
        with pytest.raises(kind):
            client.job("a" * 32).wait()
        assert len(gateway.asked) == 1 + transport.FOLLOWING.attempts


async def test_a_stream_that_ends_after_a_long_silence_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    short = Retries(attempts=4, total_s=0.3, first_pause_s=0.01)
    monkeypatch.setattr("warren.transport.FOLLOWING", short)
    monkeypatch.setattr("warren.async_transport.FOLLOWING", short)
    quiet = Answer(200, b"retry: 1000\n\n: alive\n\n", SSE, late_s=0.6)
    script = [ok(JOB), *[quiet] * 2, *events_of(LAST)]
    with ScriptedGateway(*script) as gateway, warren.Client(gateway.url) as client:
        assert client.job("a" * 32).wait().version == 4
    with ScriptedGateway(*script) as gateway:
        async with warren.AsyncClient(gateway.url) as client:
            assert (await (await client.job("a" * 32)).wait()).version == 4


def test_an_unknown_job_is_not_asked_for_again() -> None:
    with ScriptedGateway(ok(JOB), problem(404, "job_not_found")) as gateway, warren.Client(gateway.url) as client:
        with pytest.raises(warren.NotFound):
            client.job("a" * 32).wait()
        assert len(gateway.asked) == 2


def test_a_job_can_be_cancelled() -> None:
    with ScriptedGateway(ok(JOB), ok({**JOB, "cancel_requested": True}, 202)) as gateway:
        with warren.Client(gateway.url) as client:
            assert client.job("a" * 32).cancel().cancel_requested
        assert gateway.asked[1].path == f"/jobs/{'a' * 32}/cancel"


async def test_the_asynchronous_job_does_the_same() -> None:
    seen: list[float] = []
    script = [ACCEPTED, *events_of(FIRST), Answer(cut=0), *events_of(REST, LAST)]
    with ScriptedGateway(*script) as gateway:
        async with warren.AsyncClient(gateway.url) as client:
            job = await client.train("m", {"sample": "iris"}, "target")
            result = await job.wait(on_progress=lambda progress: seen.append(progress.fraction))
        assert result.version == 4
        assert seen == [0, 0.1, 0.6, 1]
        assert [asked.headers.get("last-event-id") for asked in gateway.asked[1:]] == [None, "2", "2", "3"]
    with ScriptedGateway(ok(JOB), Answer(204, b""), ok({**JOB, "status": "cancelled"})) as gateway:
        async with warren.AsyncClient(gateway.url) as client:
            with pytest.raises(warren.JobCancelled):
                await (await client.job("a" * 32)).wait()
    with ScriptedGateway(ok(JOB), problem(429, "overloaded")) as gateway:
        async with warren.AsyncClient(gateway.url) as client:
            with pytest.raises(warren.Overloaded):
                await (await client.job("a" * 32)).wait()


def test_what_is_no_event_stream_is_told_apart() -> None:
    parser = events.Parser()
    with pytest.raises(warren.UnexpectedAnswer):
        [*parser.take("id: x"), *parser.take("data: {}"), *parser.take("")]
    parser = events.Parser()
    assert [event for line in (": alive", "", "event: x", "") for event in parser.take(line)] == []
