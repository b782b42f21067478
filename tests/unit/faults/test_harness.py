"""The harness sees what it is there to see: each kind of damage, planted, is found."""

import contextlib
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults import changed_programs, endings, oracle, points, quick_child, woven
from tests.faults.account import Account
from tests.faults.load import Load, Record
from tests.faults.proxy import Proxy
from tests.faults.scenarios import SCENARIOS, mixed, order
from tests.faults.verdict import Facts, verdict
from trainer.service import TrainerService
from wire import errors, frames


def test_an_older_predictor_reads_the_first_schema_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "decode_batch", frames.decode_batch)
    woven.forget_second_schema()
    item = frames.BatchItem(size_bytes=2, remaining_ms=100)
    rows = frames.BatchHeader("m", (item,))
    assert frames.decode_batch(frames.encode(rows, [b"[]"]))[0] == rows
    tensors = frames.BatchHeader("m", (item,), schema=frames.SCHEMA_ENCODINGS)
    with pytest.raises(errors.MalformedBody, match="schema 2"):
        frames.decode_batch(frames.encode(tensors, [b"[]"]))


@pytest.mark.parametrize("name", points.POINTS)
def test_every_failpoint_names_a_function_that_is_there(name: str) -> None:
    owner, attribute = woven.found(points.POINTS[name])
    assert callable(getattr(owner, attribute))


def test_no_package_knows_of_failpoints() -> None:
    packages = ("api", "deploy", "model_store", "predictor", "tables", "trainer", "wire")
    files = [file for name in packages for file in Path(name).rglob("*.py")]
    assert files
    assert not [file for file in files if "failpoint" in file.read_text() or "tests.faults" in file.read_text()]


def test_an_armed_point_acts_once_and_an_unarmed_one_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = SimpleNamespace(work=lambda number: number + 1)
    monkeypatch.setattr(woven, "found", lambda _point: (target, "work"))
    point = points.Point("api", "before", "a:b", lambda number: number == 7)
    woven.weave("point", point, tmp_path)
    assert target.work(7) == 8
    (tmp_path / "point").write_text(f"raise {os.getpid()}")
    assert target.work(7) == 8
    (tmp_path / "point").write_text("raise")
    assert target.work(1) == 2
    with pytest.raises(OSError, match="failpoint point"):
        target.work(7)
    assert target.work(7) == 8
    assert (tmp_path / "point.fired").exists()


def test_the_quick_child_takes_the_place_of_the_fit_and_of_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    before = TrainerService.__init__.__defaults__
    assert before
    monkeypatch.setattr(TrainerService.__init__, "__defaults__", before)
    woven.take_quick_child()
    after = TrainerService.__init__.__defaults__
    assert after
    assert [new for old, new in zip(before, after, strict=True) if old != new] == [quick_child.MODULE]


def facts(**changed: Any) -> Facts:
    ended = {"status": "succeeded", "model": "m", "result": {"version": 1}}
    whole = Facts({"key": "job"}, {"job": ended}, [("job", "m", 1)], {"job"}, [], [])
    return whole._replace(**changed)


def test_a_whole_account_has_no_defect() -> None:
    assert verdict(facts()).defects() == []


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"jobs": {}}, "lost"),
        ({"versions": []}, "lost"),
        ({"versions": [("job", "m", 2)]}, "lost"),
        ({"versions": [("job", "m", 1), ("job", "m", 2)]}, "duplicated"),
        ({"versions": [("job", "m", 1), ("other", "m", 2)]}, "unexpected"),
        ({"ledger": {"job", "other"}}, "unexpected"),
        ({"jobs": {"job": {"status": "running"}}, "versions": []}, "stuck"),
        ({"jobs": {"job": {"status": "cancelled", "model": "m"}}}, "unexpected"),
        ({"jobs": {"job": {"status": "failed", "error": "e"}}, "versions": []}, "failed"),
        ({"partial": [".tmp/x"]}, "partial"),
        ({"queues": ["warren.dead.v1: 1"]}, "queues"),
    ],
)
def test_each_kind_of_damage_is_found(changed: dict[str, Any], kind: str) -> None:
    [defect] = verdict(facts(**changed)).defects()
    assert defect.startswith(f"{kind} 1")


def test_a_job_ends_late_by_its_202_or_by_the_last_fault_before_its_end() -> None:
    lives = [endings.Span(10, 12), endings.Span(11, 40), endings.Span(50, 49)]
    assert endings.slowest_end_s(lives, []) == 29
    assert endings.slowest_end_s(lives, [5, 35, 60]) == 5
    assert endings.slowest_end_s([], [5]) == 0
    assert [endings.open_at(lives, moment) for moment in (9, 10, 11, 12, 40)] == [0, 1, 2, 1, 0]


def test_the_lives_of_jobs_begin_with_their_202_and_end_as_the_ledger_says() -> None:
    stage: Any = None
    account = Account(stage, accepted_at={"a": 1.5, "b": 2.0})
    account.told = {"a": {"ended_at": "1970-01-01T00:00:03.250Z"}, "b": {"ended_at": None, "status": "running"}}
    assert endings.spans(account) == [endings.Span(1.5, 3.25)]


def answer(x: int = 2, version: int = 2, request_id: str = "r", **changed: Any) -> bytes:
    told = {"model": "oracle", "version": version, "predictions": [x + version * oracle.STEP], "request_id": request_id}
    return json.dumps(told | changed).encode()


def test_the_oracle_knows_its_own_answer() -> None:
    assert oracle.objection(2, "r", "r", answer()) == ""


@pytest.mark.parametrize(
    ("header_id", "content"),
    [
        ("other", answer()),
        ("r", answer(request_id="other")),
        ("r", answer(version=1)),
        ("r", answer(x=3)),
        ("r", answer(version=2, predictions=[2 + oracle.STEP])),
        ("r", answer(predictions=[])),
        ("r", b"{"),
    ],
)
def test_the_oracle_objects_to_every_other(header_id: str, content: bytes) -> None:
    assert oracle.objection(2, "r", header_id, content)


def test_a_refused_and_a_missing_answer_are_defects_of_a_load_and_a_late_one_is_slow() -> None:
    load = Load("http://127.0.0.1:1", records=[Record(0, 0.1, 200, ""), Record(0, 0.1, 503, "busy")], sent=2)
    assert load.defects() == ["1 x 503: busy"]
    assert (load.defects(may_refuse=True), load.slow()) == ([], [])
    load.records.append(Record(0, 9.0, 200, ""))
    assert "1 answers later" in load.slow()[0]


def test_the_wall_clock_is_wrong_and_no_other_and_nobody_sleeps_longer(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    says = (
        "import datetime, time; began = time.monotonic(); time.sleep(0.05); slept = time.monotonic() - began\n"
        "print(time.time(), datetime.datetime.now().timestamp(), slept, began)"
    )
    for wrong_s in (0, 86_400, -3600):
        clock.write_text(f"{wrong_s:+d}")
        environment = {"LD_PRELOAD": str(changed_programs.wall_clock(tmp_path)), "WALL_CLOCK_FILE": str(clock)}
        told = subprocess.run(
            [sys.executable, "-c", says], env=environment, check=True, capture_output=True, timeout=30
        )
        *wall, slept, began = map(float, told.stdout.split())
        assert wall == pytest.approx([time.time() + wrong_s] * 2, abs=10)
        assert slept == pytest.approx(0.05, abs=5)
        assert began == pytest.approx(time.monotonic(), abs=30)


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while block := self.request.recv(100):
                    self.request.sendall(block)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_the_proxy_passes_holds_back_and_resets(echo: int) -> None:
    proxy = Proxy("127.0.0.1", echo)
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as one:
            one.sendall(b"a")
            assert one.recv(1) == b"a"
            proxy.set("half-open")
            one.sendall(b"b")
            one.settimeout(0.2)
            with pytest.raises(TimeoutError):
                one.recv(1)
            proxy.set("pass")
            one.settimeout(5)
            assert one.recv(1) == b"b"
            proxy.reset()
            with pytest.raises(ConnectionResetError):
                one.recv(1)
        proxy.set("refuse")
        with (
            pytest.raises(ConnectionResetError),
            socket.create_connection(("127.0.0.1", proxy.port), 5) as two,
        ):
            two.recv(1)
    finally:
        proxy.close()


def test_the_rounds_of_f35_play_every_order_once() -> None:
    rounds, trials = SCENARIOS["F35"].chaos
    played = [one for number in range(rounds) for one in order.orders_of(number, trials)]
    assert len(played) == len({*played}) == 24


def test_dead_letters_are_those_of_the_refused() -> None:
    assert mixed.dead_letter_defects(5, 5, 0) == mixed.dead_letter_defects(6, 5, 1) == []
    assert mixed.dead_letter_defects(0, 0, 0) == []
    for dead, refused, copies in ((4, 5, 3), (7, 5, 1), (0, 1, 0), (1, 0, 0)):
        assert mixed.dead_letter_defects(dead, refused, copies), (dead, refused, copies)
