"""The harness sees what it is there to see: each kind of damage, planted, is found."""

import contextlib
import json
import os
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults import endings, oracle, points, quick_child, results, woven
from tests.faults.account import Account, Facts, verdict
from tests.faults.load import Load, Record
from tests.faults.proxy import Proxy
from tests.faults.scenarios import SCENARIOS, mixed, order
from tests.faults.scenarios.playing import Play, Scenario, run
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


def played(play: Callable[[Play], None]) -> results.Round:
    stage: Any = None
    return run(Scenario("F99", "holds", "all", play, faults=None, chaos=(1, 1)), stage, 1, seed=7)


def test_a_defect_leaves_no_kind_of_trial_without_a_failure() -> None:
    def breaks(play: Play) -> None:
        play.round.count("kills", 300)
        play.round.count("jobs", 900, 2)
        play.defect("something else")

    def falls_over(play: Play) -> None:
        play.round.count("kills", 300)
        raise RuntimeError("the harness")

    assert played(breaks).failures == {"kills": 1, "jobs": 2}
    assert played(falls_over).failures == {"kills": 1}
    assert played(lambda play: play.round.count("kills", 300)).failures == {"kills": 0}


def test_a_job_that_ends_late_is_slow_and_one_without_end_a_defect() -> None:
    def late(play: Play) -> None:
        account = Account(play.stage, accepted={"k": "a"}, accepted_at={"a": 0.0})
        account.told = {"a": {"ended_at": "1970-01-01T00:00:31Z"}}
        play.judge_jobs(account, verdict(facts()), [])

    done = played(late)
    assert (done.defects, done.slow) == ([], ["a job ended 31 s after the last fault"])
    assert done.figures == {"slowest_end_s": 31.0}


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
    assert Load("http://127.0.0.1:1", sent=1).defects() == ["1 requests without any end"]


def test_the_rule_of_three() -> None:
    assert results.upper_bound(300, 0) == pytest.approx(0.01)
    assert results.upper_bound(0, 0) == 1.0
    assert results.upper_bound(100, 5) > 0.05


def test_results_outlive_the_run_and_fill_their_place_in_the_page(tmp_path: Path) -> None:
    kept = results.Results("chaos", tmp_path)
    first = results.Round("F99", trials={"kills": 100}, failures={"kills": 0})
    kept.add(first)
    kept.add(results.Round("F98", defects=["a | b"]))
    assert results.Results("chaos", tmp_path).rounds()[0] == first
    board = results.table(kept.rounds(), [("F99", "holds", "all"), ("F98", "breaks", "none")])
    assert "| F99 | holds (target: all) | 100 kills | held; failed: 0 kills | 3.00% of kills |" in board
    assert "**failed**: a / b" in board
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- chaos: generated -->\nold\n<!-- chaos: end -->\nafter\n")
    results.write_page("chaos", board, page)
    assert page.read_text() == f"before\n<!-- chaos: generated -->\n{board}\n<!-- chaos: end -->\nafter\n"
    assert results.read_page("chaos", page) == board
    other = results.table([results.Round("F98", slow=["late"])], [("F99", "", ""), ("F98", "", "")], board)
    assert other.splitlines()[2] == board.splitlines()[2], "who was not played keeps the old row"
    assert "held, but slow: late" in other.splitlines()[3]
    kept.forget(["F99"])
    assert [one.scenario for one in kept.rounds()] == ["F98"]


def test_rounds_say_which_code_they_ran_on_and_old_ones_nothing(tmp_path: Path) -> None:
    kept = results.Results("chaos", tmp_path)
    kept.file.write_text('{"scenario": "F99", "at": "2026-11-27 01:00"}\n')
    kept.add(results.Round("F99", at="2026-11-28 12:00", commit="abc1234"))
    kept.add(results.Round("F99", at="2026-11-28 12:01", commit="def5678+"))
    assert [one.commit for one in kept.rounds()] == ["", "abc1234", "def5678+"]
    described = [("F99", "holds", "all")]
    assert results.table(kept.rounds(), described).endswith("| 2026-11-28 12:01, abc1234, def5678+ |")
    assert results.table(kept.rounds()[:1], described).endswith("| 2026-11-27 01:00 |")


def test_the_commit_is_that_of_the_checkout() -> None:
    assert re.fullmatch(r"([0-9a-f]{7,}\+?)?", results.commit())
    assert bool(results.commit()) == Path(".git").exists()


def test_of_what_should_be_much_the_board_shows_the_least() -> None:
    rounds = [results.Round("F99", figures={"least_open": least, "slowest_s": least}) for least in (5.0, 3.0, 4.0)]
    assert "| least_open 3, slowest_s 5 |" in results.table(rounds, [("F99", "holds", "all")])


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


def test_the_page_names_only_tests_that_are_there() -> None:
    page = Path("docs/reliability.md").read_text()
    code = "\n".join(file.read_text() for file in Path("tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 30
    assert not [name for name in named if f"def {name}(" not in code]
    assert not [file for file in re.findall(r"`(tests/\S+?)`", page) if not Path(file).exists()]


def test_every_scenario_is_named_in_the_page() -> None:
    named = {*re.findall(r"[FS]\d\d", Path("docs/reliability.md").read_text())}
    assert not {name.split()[0] for name in SCENARIOS} - named


def test_the_rounds_of_f35_play_every_order_once() -> None:
    rounds, trials = SCENARIOS["F35"].chaos
    played = [one for number in range(rounds) for one in order.orders_of(number, trials)]
    assert len(played) == len({*played}) == 24


def test_dead_letters_are_those_of_the_refused() -> None:
    assert mixed.dead_letter_defects(5, 5, 0) == mixed.dead_letter_defects(6, 5, 1) == []
    assert mixed.dead_letter_defects(0, 0, 0) == []
    for dead, refused, copies in ((4, 5, 3), (7, 5, 1), (0, 1, 0), (1, 0, 0)):
        assert mixed.dead_letter_defects(dead, refused, copies), (dead, refused, copies)
