from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import goals, report, warren_side
from benchmarks.client import Address
from benchmarks.measurements import File
from benchmarks.progress import bar
from benchmarks.results import Table, Turn, beside
from benchmarks.workloads import WORKLOADS


def turn(server: str, speed: float, **rest: object) -> Turn:
    figures = {"requests_per_s": speed, "p50_ms": 1.0, "p99_ms": 2.0, "p999_ms": 3.0, "cpu_s_per_1000": 0.1}
    return {"server": server, "beside": server, **figures, "pss_bytes": 1e6, "errors": 0, "requests": 9} | rest


def test_a_ratio_is_warrens_mean_of_before_and_after_over_the_peer() -> None:
    turns = [turn("Warren", 100), turn("a", 10), turn("b", 20), turn("Warren", 300), turn("c", 10), turn("Warren", 500)]
    assert beside(turns, "a", "requests_per_s") == [20.0]
    assert beside(turns, "b", "requests_per_s") == [10.0]
    assert beside(turns, "c", "requests_per_s") == [40.0]


def test_an_open_loop_is_compared_at_the_same_rate() -> None:
    turns = [
        turn("a", 50, rate=50, p99_ms=10.0),
        turn("Warren", 50, rate=50, p99_ms=5.0, beside="a"),
        turn("b", 90, rate=90, p99_ms=4.0),
        turn("Warren", 90, rate=90, p99_ms=6.0, beside="b"),
    ]
    assert beside(turns, "a", "p99_ms") == [0.5]
    assert beside(turns, "b", "p99_ms") == [1.5]


def test_an_open_loop_has_one_row_for_a_framework_over_all_rounds() -> None:
    rounds = {
        f"logistic/{number}/open": [
            turn(name, 50, rate=50 + number, p99_ms=theirs),
            turn("Warren", 50, rate=50 + number, p99_ms=6.0, beside=name),
        ]
        for number, (name, theirs) in enumerate(
            (("LitServe, batching off", 3.0), ("LitServe, batching on", 12.0), ("LitServe, batching off", 8.0))
        )
    }
    rows = [goal for goal in goals.evaluate(Table(rounds), {}) if goal.connections == "open loop"]
    assert [(row.against, sorted(row.ratios), row.reached) for row in rows] == [
        ("LitServe, batching off or on", [0.5, 0.75, 2.0], 0.75)
    ]
    assert rows[0].work.startswith("logistic regression, 51 requests/s")


def test_what_is_reported_is_the_median_of_the_rounds_ratios() -> None:
    rounds = {
        f"logistic/{number}/1x64": [turn("Warren", ours), turn("FastAPI inline", 10), turn("Warren", ours)]
        for number, ours in enumerate((40, 70, 60))
    }
    inline = next(goal for goal in goals.evaluate(Table(rounds), {}) if goal.against == "FastAPI inline")
    assert inline.ratios == (4.0, 7.0, 6.0)
    assert inline.reached == 6.0
    assert inline.verdict == "held"


def test_the_best_peer_is_a_framework_with_its_faster_setting() -> None:
    turns = [turn("FastAPI inline", 90), turn("BentoML, batching off", 40), turn("BentoML, batching on", 50)]
    assert Table({"forest/0/1x64": turns}).best("forest", "1x64") == "BentoML, batching on"


def test_a_row_without_measurements_says_so() -> None:
    assert {goal.verdict for goal in goals.evaluate(Table({}), {})} == {"not measured"}


def test_binary_tensors_are_compared_with_the_fastest_peer_in_its_own_format() -> None:
    turns = [turn("Warren", 90), turn("MLflow", 20), turn("MLServer, batching off", 45), turn("Warren", 90)]
    found = goals.evaluate(Table({"boosting/0/10000x4 own": turns}), {})
    row = next(goal for goal in found if goal.work == "boosting, 10,000 rows, own fastest format")
    assert (row.against, row.reached, row.wanted, row.verdict) == (
        "best peer: MLServer, batching off",
        2.0,
        1.1,
        "held",
    )
    assert (row.ours, row.theirs, row.figure) == (900_000, 450_000, "rows/s")


@pytest.mark.parametrize(
    ("ratio", "least", "verdict"),
    [(1.3, True, "held"), (1.1, True, "missed"), (1.3, False, "missed"), (1.2, False, "held")],
)
def test_a_verdict_follows_the_goals_direction(ratio: float, least: bool, verdict: str) -> None:
    assert goals.Goal("w", "1", "a", "f", 1.2, least, (ratio,)).verdict == verdict


def test_memory_is_the_sum_over_all_processes() -> None:
    memory = {"Warren": {"api-1": 50.0, "broker": 150.0}, "BentoML, batching on": {"all": 100.0}}
    row = goals.evaluate(Table({}), memory)[-1]
    assert (row.ours, row.theirs, row.reached) == (200.0, 100.0, 2.0)


def test_a_block_with_a_failed_server_is_run_again(tmp_path: Path) -> None:
    file = File(tmp_path / "m.jsonl")
    file.add({"block": "logistic/0/1x1", "turns": [turn("Warren", 1), {"server": "a", "failed": "TimeoutError"}]})
    file.add({"block": "logistic/0/1x64", "turns": [turn("Warren", 1)]})
    assert file.complete() == {"logistic/0/1x64"}
    assert file.failures() == {"logistic/0/1x1: a": "TimeoutError"}
    file.add({"block": "logistic/0/1x1", "turns": [turn("Warren", 1), turn("a", 1)]})
    assert file.complete() == {"logistic/0/1x64", "logistic/0/1x1"}


def test_the_report_holds_every_goal_and_no_place(tmp_path: Path) -> None:
    file = File(tmp_path / "m.jsonl")
    file.add(
        {"block": "logistic/0/1x64", "turns": [turn("Warren", 60), turn("FastAPI inline", 10), turn("Warren", 60)]}
    )
    file.add({"machine": report.machine(), "at": "2026-01-01 00:00"})
    report.write(file, tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    page = (tmp_path / "out" / "results.md").read_text()
    assert len(stored["goals"]) == page.count(" at least ") + page.count(" no more than ")
    assert "**6.00x**" in page
    assert str(tmp_path) not in json.dumps(stored) + page
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "results.md",
        "results.json",
        "chart.png",
        "chart.svg",
    }


def test_the_bar_foretells_the_rest_at_the_pace_so_far() -> None:
    assert bar(120, 600, 240).endswith("20%  16 min left")
    assert bar(0, 600, 30).endswith("0%  10 min left")


def test_a_binary_answer_reads_as_the_labels_it_holds() -> None:
    labels = b"\x03\x00\x00\x00yes\x02\x00\x00\x00no"
    assert warren_side.decode_tensors(b'{"outputs":[{"name":"predict"}]}' + labels) == ["yes", "no"]


def test_binary_requests_of_a_workload_have_their_length_in_the_address() -> None:
    mixed = next(one for one in WORKLOADS if one.texts)
    body = warren_side.tensors(mixed.rows(3, 1), mixed)
    address = warren_side.tensor_address(Address.of("http://127.0.0.1:1/predict"), mixed)
    length = int(address.fields.split(": ")[1])
    head = json.loads(body[:length])
    assert [each["name"] for each in head["inputs"]] == [column["name"] for column in mixed.columns]
    assert sum(each["parameters"]["binary_data_size"] for each in head["inputs"]) == len(body) - length
    assert address.request(body).startswith(b"POST /v2/models/mixed/infer HTTP/1.1\r\n")
