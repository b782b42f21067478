"""Blocks under way, on wire's broker in memory: order, retries, halving, and the ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from api.offline import window as windows
from api.offline.order import Order
from api.offline.window import Answered, Stop, Window
from tests.rabbit import wait_until
from wire import errors, frames, settings, topology
from wire.client import QueueState, RpcClient
from wire.memory import MemoryBroker
from wire.row_blocks import Block, Refused
from wire.server import Request, RpcServer

Say = Callable[[list[Any], Request], "bytes | errors.WarrenError"]


class Predictor:
    """Answers blocks as a function says; rows are lists whose first cell is a number."""

    def __init__(self, broker: MemoryBroker, say: Say) -> None:
        self.seen: list[list[Any]] = []
        self._say = say
        self.server: RpcServer = broker.server("predictor", "scripted")
        self.server.serve(topology.BULK, self._handle, prefetch=1)
        self.server.start()
        assert self.server.wait_ready(5)

    def _handle(self, request: Request) -> None:
        header, blobs = frames.decode_batch(request.body)
        assert (header.model, header.version, len(blobs)) == ("m", 7, 1)
        rows = json.loads(bytes(blobs[0]))
        self.seen.append(rows)
        said = self._say(rows, request)
        if isinstance(said, errors.WarrenError):
            reply = frames.encode(frames.ReplyHeader((frames.ReplyItem(error=said.to_body()),), 7), [])
        else:
            reply = frames.encode(frames.ReplyHeader((frames.ReplyItem(len(said), len(rows)),), 7), [said])
        request.reply_raw(reply, frames.REPLY_TYPE)


def echo(rows: list[Any], _: Request) -> bytes:
    return b'"predictions":' + json.dumps([row[0] for row in rows]).encode()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "POLL_S", 0.02)


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(settings.Broker(confirm_timeout_s=0.3, connect_timeout_s=1, reconnect_max_s=0.2))


@pytest.fixture
def rpc(broker: MemoryBroker) -> Iterator[RpcClient]:
    made = broker.client("worker", "worker")
    made.start()
    assert made.wait_connected(5)
    yield made
    made.close()


@pytest.fixture
def serve(broker: MemoryBroker) -> Iterator[Callable[[Say], Predictor]]:
    running: list[Predictor] = []

    def start(say: Say = echo) -> Predictor:
        running.append(Predictor(broker, say))
        return running[-1]

    yield start
    for one in running:
        one.server.stop(1)


def window(rpc: RpcClient, check: Callable[[], None] = lambda: None, size: int = 3, **order: Any) -> Window:
    asked = Order(model="m", version=7, dataset_id="d", features={}, **order)
    return Window(rpc, asked, "r1", size, 0.2, check)


def block(*cells: Any) -> Block:
    return Block(len(cells), json.dumps([[cell] for cell in cells]).encode())


def said(answered: Iterator[Answered]) -> list[Any]:
    return [[json.loads(one) if one else None for one in each.answers.predictions] for each in answered]


BLOCKS = [block(at, at + 1) for at in range(0, 40, 2)]


def test_answers_come_in_the_order_of_the_blocks_and_few_are_under_way(
    rpc: RpcClient, serve: Callable[..., Predictor]
) -> None:
    serve()
    sent = 0

    def blocks() -> Iterator[Block]:
        nonlocal sent
        for one in BLOCKS:
            sent += 1
            yield one

    taken = []
    for at, each in enumerate(window(rpc).answers(blocks())):
        taken.append([json.loads(one) for one in each.answers.predictions])
        assert sent <= at + 3
    assert taken == [[at, at + 1] for at in range(0, 40, 2)]


def test_a_block_without_a_readable_row_is_sent_to_nobody(rpc: RpcClient, serve: Callable[..., Predictor]) -> None:
    predictor = serve()
    refused = Block(1, b"[]", b"", (Refused(0, "no"),))
    assert said(window(rpc).answers([block(1), refused, block(2)])) == [[1], [], [2]]
    assert predictor.seen == [[[1]], [[2]]]


def test_a_row_without_an_answer_is_found_and_the_others_are_answered(
    rpc: RpcClient, serve: Callable[..., Predictor]
) -> None:
    def say(rows: list[Any], request: Request) -> bytes | errors.WarrenError:
        bad = [at for at, row in enumerate(rows) if row[0] in (3, 6)]
        if bad:
            return errors.BadInput("Some rows.", errors=[errors.FieldError(f"instances[{bad[0]}]", "is beyond it")])
        return echo(rows, request)

    serve(say)
    [one] = window(rpc).answers([block(*range(8))])
    assert one.answers.problems == {3: "is beyond it", 6: "is beyond it"}
    assert said(iter([one])) == [[0, 1, 2, None, 4, 5, None, 7]]


def test_a_block_that_came_back_is_sent_again_and_then_halved(rpc: RpcClient, serve: Callable[..., Predictor]) -> None:
    def say(rows: list[Any], request: Request) -> bytes | errors.WarrenError:
        return errors.RetryAlone() if [3] in rows else echo(rows, request)

    predictor = serve(say)
    [one] = window(rpc).answers([block(*range(4))])
    assert one.answers.problems == {3: errors.InferenceCrashed().message}
    assert predictor.seen.count([[0], [1], [2], [3]]) == 2
    assert said(iter([one])) == [[0, 1, 2, None]]


def test_rows_that_end_predictors_again_and_again_end_the_job(
    rpc: RpcClient, serve: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "MOST_CRASHES", 3)
    serve(lambda _rows, _request: errors.RetryAlone())
    with pytest.raises(errors.InferenceCrashed):
        list(window(rpc).answers([block(*range(8))]))


def test_too_many_rows_without_an_answer_end_the_job(
    rpc: RpcClient, serve: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "MOST_HALVED", 2)
    serve(lambda _rows, _request: errors.BadInput("too large"))
    with pytest.raises(errors.BadInput, match="more than 2 rows"):
        list(window(rpc).answers([block(*range(8))]))


def test_probabilities_that_a_version_has_not_end_the_job(rpc: RpcClient, serve: Callable[..., Predictor]) -> None:
    problem = errors.FieldError("probabilities", "this version has no probabilities")
    serve(lambda _rows, _request: errors.BadInput("The version has no probabilities.", errors=[problem]))
    with pytest.raises(errors.BadInput, match="no probabilities"):
        list(window(rpc, probabilities=True).answers([block(1, 2)]))


def test_an_error_of_the_whole_block_ends_the_attempt(rpc: RpcClient, serve: Callable[..., Predictor]) -> None:
    def gone(_rows: list[Any], _request: Request) -> bytes:
        raise errors.VersionNotFound

    serve(gone)
    with pytest.raises(errors.VersionNotFound):
        list(window(rpc).answers([block(1)]))


@pytest.mark.parametrize(
    "reply",
    [
        b'"predictions":[1]',
        b'"predictions":',
        b'"predictions":[1,2],"probabilities":[[1]]',
    ],
)
def test_a_reply_that_makes_no_sense_fails_the_attempt(
    rpc: RpcClient, serve: Callable[..., Predictor], reply: bytes
) -> None:
    serve(lambda _rows, _request: reply)
    with pytest.raises(errors.InternalError):
        list(window(rpc, probabilities=True).answers([block(1, 2)]))


def test_a_reply_without_items_fails_the_attempt(rpc: RpcClient, serve: Callable[..., Predictor]) -> None:
    def say(_rows: list[Any], request: Request) -> bytes:
        request.reply_raw(frames.encode(frames.ReplyHeader(), []), frames.REPLY_TYPE)
        return b""

    serve(say)
    with pytest.raises(errors.InternalError):
        list(window(rpc).answers([block(1)]))


def test_connections_that_are_lost_cost_no_row(
    rpc: RpcClient, broker: MemoryBroker, serve: Callable[..., Predictor]
) -> None:
    serve()
    taken = []
    for each in window(rpc).answers(BLOCKS):
        taken.append([json.loads(one) for one in each.answers.predictions])
        if len(taken) in (3, 9):
            broker.close_connections("worker")
    assert taken == [[at, at + 1] for at in range(0, 40, 2)]


def test_a_request_that_got_lost_is_sent_again(
    rpc: RpcClient, broker: MemoryBroker, serve: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [True]
    real = rpc.stream_raw

    def stream_raw(queue: str, body: bytes, kind: str, **more: Any) -> Any:
        stream = real(topology.MODELS if lost[0] else queue, body, kind, **more)
        lost[0] = False
        return stream

    monkeypatch.setattr(rpc, "stream_raw", stream_raw)
    serve()
    assert said(window(rpc, size=1).answers([block(1)])) == [[1]]


def test_a_broker_that_does_not_say_what_waits_is_asked_again(
    rpc: RpcClient, serve: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    asked: list[str] = []

    def queue_state(queue: str) -> QueueState:
        asked.append(queue)
        if len(asked) == 2:
            gate.set()
        raise errors.BrokerUnavailable

    def say(rows: list[Any], request: Request) -> bytes:
        assert gate.wait(10)
        return echo(rows, request)

    monkeypatch.setattr(rpc, "queue_state", queue_state)
    predictor = serve(say)
    assert said(window(rpc).answers([block(1)])) == [[1]]
    assert (asked[:2], predictor.seen) == ([topology.BULK] * 2, [[[1]]])


def test_a_queue_that_is_away_is_waited_for_but_not_for_ever(
    rpc: RpcClient, broker: MemoryBroker, serve: Callable[..., Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "REFUSALS", 2)
    monkeypatch.setattr(windows, "_PAUSE_MAX_S", 0.01)
    removed = broker._bindings.pop((topology.BULK, topology.BULK))
    with pytest.raises(errors.Unroutable):
        list(window(rpc).answers([block(1)]))
    broker._bindings[(topology.BULK, topology.BULK)] = removed
    serve()
    assert said(window(rpc).answers([block(1)])) == [[1]]


def test_whoever_is_told_to_stop_stops_while_it_waits(rpc: RpcClient) -> None:
    asked = []

    def check() -> None:
        asked.append(1)
        if len(asked) > 3:
            raise Stop

    with pytest.raises(Stop):
        list(window(rpc, check).answers(BLOCKS))


def test_whoever_stops_leaves_no_stream_behind(rpc: RpcClient, serve: Callable[..., Predictor]) -> None:
    serve()
    answers = window(rpc).answers(BLOCKS)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    wait_until(lambda: not rpc._client._streams, "every stream is closed")
