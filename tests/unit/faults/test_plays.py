"""What a play is judged by: refusals, a load beside itself without the fault, and answers that come three times."""

from __future__ import annotations

import dataclasses
import random
import re
import socketserver
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults import results, woven
from tests.faults.load import Load, Record
from tests.faults.scenarios import replicas
from tests.faults.scenarios.playing import Play
from tests.faults.sender import GIVE_UP_S
from tests.rabbit import wait_until
from wire.requests import Request


@pytest.mark.parametrize(("header", "defects"), [(b"Retry-After: 1\r\n", 0), (b"", 1)])
def test_a_refusal_has_to_say_when_to_come_back(header: bytes, defects: int) -> None:
    class Refusing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(10_000):
                self.request.sendall(b"HTTP/1.1 503 Busy\r\n" + header + b"Content-Length: 4\r\n\r\nbusy")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Load(f"http://127.0.0.1:{server.server_address[1]}", 200) as load:
            wait_until(lambda: len(load.records) > 10, "some were refused", 10)
        server.shutdown()
    assert {one.status for one in load.records} == {503}
    assert len(load.defects(may_refuse=True)) == defects


def test_a_load_that_ends_by_itself_is_a_failure_and_no_lack_of_requests() -> None:
    load = Load("http://127.0.0.1:1", 200).__enter__()
    wait_until(lambda: len(load.records) > 10, "some found nobody", 10)
    load._process.kill()
    with pytest.raises(AssertionError, match="the load ended with -9"):
        load.__exit__(None, None, None)
    assert {one.status for one in load.records} == {0}


def test_what_the_load_itself_gets_wrong_is_no_right_answer() -> None:
    class Answering(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(10_000):
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # A module without an oracle's two functions.
        with Load(f"http://127.0.0.1:{server.server_address[1]}", 200, oracle=results) as load:  # type: ignore[arg-type]
            wait_until(lambda: len(load.records) > 10, "some were judged", 10)
        server.shutdown()
    assert load.failed == load.records
    assert "AttributeError" in load.failed[0].problem


@pytest.mark.parametrize(("deadline_s", "named"), [(0.0, set()), (2.0, {b"2000"})])
def test_each_request_names_the_deadline_that_its_load_has(deadline_s: float, named: set[bytes]) -> None:
    heard: set[bytes] = set()

    class Listening(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while asked := self.request.recv(10_000):
                heard.update(re.findall(rb"\r\nX-Request-Timeout-Ms: (.*)\r\n", asked))
                self.request.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Listening) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Load(f"http://127.0.0.1:{server.server_address[1]}", 200, deadline_s=deadline_s) as load:
            wait_until(lambda: len(load.records) > 10, "some were answered", 10)
        server.shutdown()
    assert {one.status for one in load.records} == {503}
    assert heard == named


@pytest.mark.parametrize(
    ("due", "seconds", "cut_off"),
    [(9.0, 0.5, False), (9.0, 2.0, True), (11.9, 3.0, True), (12.1, 0.1, False), (11.0, GIVE_UP_S, False)],
    ids=["before", "under-way", "noticed-late", "after", "hung"],
)
def test_who_is_cut_off_by_a_kill_was_asked_before_or_just_after(due: float, seconds: float, cut_off: bool) -> None:
    assert replicas._cut_off(Record(due, seconds, 0, "closed"), 10.0, 11.0) is cut_off


def test_a_load_is_compared_with_itself_without_the_fault_and_faults_are_as_long_as_asked() -> None:
    before = Load("http://127.0.0.1:1", records=[Record(0, 0.1, 200, "")])
    done = results.Round("F99")
    play = Play(SimpleNamespace(), 1, random.Random(1), done)  # type: ignore[arg-type]
    play.compare(Load("http://127.0.0.1:1", records=[Record(0, 0.2, 200, "")]), before, 2)
    assert (done.slow, done.figures) == ([], {"p99_before_ms": 100.0})
    play.compare(Load("http://127.0.0.1:1", records=[Record(0, 0.21, 200, "")]), before, 2)
    assert done.slow == ["the p99 is 210 ms, and 100 ms without the fault"]
    assert (play.lasting(30, 8), dataclasses.replace(play, full=True).lasting(30, 8)) == (8, 30)


def test_answers_go_out_three_times_while_they_shall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(Request, "_post_reply", lambda _self, _body, kind: sent.append(kind))
    woven.repeat_answers(tmp_path / woven.THRICE)
    request: Any = SimpleNamespace()
    Request._post_reply(request, b"", "once")
    (tmp_path / woven.THRICE).touch()
    Request._post_reply(request, b"", "thrice")
    assert sent == ["once", "thrice", "thrice", "thrice"]
