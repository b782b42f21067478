"""What rounds found is kept, judged and written into the page as it was."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults import results
from tests.faults.account import Account
from tests.faults.scenarios import SCENARIOS
from tests.faults.scenarios.playing import Play, Scenario, Watching, run
from tests.faults.verdict import Outcome


def nowhere() -> Any:
    return None


@pytest.fixture
def kept(tmp_path: Path) -> results.Results:
    return results.Results("chaos", tmp_path)


def played(kept: results.Results, play: Callable[[Play], None], stage: Callable[[], Any] = nowhere) -> results.Round:
    """What was kept of a round."""
    run(Scenario("F99", "holds", "all", play, faults=None, chaos=(1, 1)), stage, 1, 7, kept)
    return kept.rounds()[-1]


def test_a_stack_that_does_not_start_and_a_time_limit_leave_a_failed_round(kept: results.Results) -> None:
    def no_stack() -> Any:
        raise RuntimeError("not ready: broker")

    def ends(play: Play) -> None:
        play.round.count("kills", 3)
        pytest.fail("Timeout >300.0s")

    assert played(kept, lambda play: None, no_stack).defects == ["RuntimeError: not ready: broker"]
    with pytest.raises(pytest.fail.Exception):
        played(kept, ends)
    assert (kept.rounds()[-1].defects, kept.rounds()[-1].failures) == (["Failed: Timeout >300.0s"], {"kills": 1})


def test_a_round_that_a_person_interrupts_is_played_another_time(kept: results.Results) -> None:
    def interrupted(play: Play) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        played(kept, interrupted)
    assert kept.rounds() == []


def test_who_stops_looking_or_never_looks_has_found_something() -> None:
    def breaks() -> list[str]:
        raise ValueError("a page that is none")

    with Watching(breaks, 0.001) as watching:
        watching._thread.join(10)
    assert watching.found == [
        "whoever was to look stopped: ValueError: a page that is none",
        "whoever was to look did so 0 times",
    ]
    with Watching(list, 60) as never:
        pass
    assert never.found == ["whoever was to look did so 0 times"]


def test_a_defect_leaves_no_kind_of_trial_without_a_failure(kept: results.Results) -> None:
    def breaks(play: Play) -> None:
        play.round.count("kills", 300)
        play.round.count("jobs", 900, 2)
        play.defect("something else")

    def falls_over(play: Play) -> None:
        play.round.count("kills", 300)
        raise RuntimeError("the harness")

    assert played(kept, breaks).failures == {"kills": 1, "jobs": 2}
    assert played(kept, falls_over).failures == {"kills": 1}
    assert played(kept, lambda play: play.round.count("kills", 300)).failures == {"kills": 0}


def test_a_job_that_ends_late_is_slow_and_one_without_end_a_defect(kept: results.Results) -> None:
    def late(play: Play) -> None:
        account = Account(play.stage, accepted={"k": "a"}, accepted_at={"a": 0.0})
        account.told = {"a": {"ended_at": "1970-01-01T00:00:31Z"}}
        play.judge_jobs(account, Outcome([], [], [], [], [], [], []), [])

    done = played(kept, late)
    assert (done.defects, done.slow) == ([], ["a job ended 31 s after the last fault"])
    assert done.figures == {"slowest_end_s": 31.0}


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


def test_the_page_names_only_tests_that_are_there() -> None:
    page = Path("docs/reliability.md").read_text()
    code = "\n".join(file.read_text() for file in Path("tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 30
    assert not [name for name in named if f"def {name}(" not in code]
    assert not [file for file in re.findall(r"`(tests/\S+?)`", page) if not Path(file).exists()]


def test_every_scenario_has_a_row_of_a_scoreboard() -> None:
    boards = "\n".join(results.read_page(tier) for tier in ("faults", "chaos", "soak"))
    rows = {*re.findall(r"^\| ([^|]+?) \|", boards, re.MULTILINE)}
    assert not {*SCENARIOS, "F37"} - rows
