"""The rules of the soak see what they are there to see, in samples made up for it."""

import random
from collections.abc import Callable

from tests.faults import soak, usage
from tests.faults.stage import PROCESSES
from tests.faults.usage import Sample, Usage


def hour(**programs: Callable[[int], Sample]) -> Usage:
    """A sample a minute for an hour of each program, ``api_1`` for api-1."""
    found = Usage()
    for name, at in programs.items():
        found.samples[f"{name.replace('_', '-')}/1"] = [at(minute) for minute in range(60)]
    return found


def test_growth_is_seen_only_where_there_is_some() -> None:
    flat = hour(api_1=lambda minute: Sample(60 * minute, 100 + minute % 2, 5, 20 + minute * (minute % 2)))
    assert flat.growth() == []
    growing = hour(api_1=lambda minute: Sample(60 * minute, 100 + minute / 20, 5, 20 + minute, 1_000 * minute))
    assert growing.growth()[0] == "api-1/1 grew by 3.0 MB an hour"
    assert growing.growth()[1:] == ["api-1/1: 41 to 71 fds", "api-1/1: 21000 to 51000 blocks"]


def test_a_program_that_did_not_answer_has_no_fewer_blocks_than_before() -> None:
    silent = hour(api_1=lambda minute: Sample(60 * minute, 100, 5, 20, 0 if minute < 40 else 50_000 * (minute % 2)))
    assert silent.growth() == ["api-1/1: 0 to 50000 blocks"]


def test_the_broker_may_grow_in_a_step_of_its_allocator_and_not_by_more() -> None:
    def step(size_mb: float) -> list[str]:
        return hour(broker=lambda minute: Sample(60 * minute, 120 + (size_mb if minute > 40 else 0), 20, 50)).growth()

    assert step(4.5) == []
    assert step(6) == ["broker/1: 120 to 126 MB"]


def test_whom_nobody_watched_for_long_enough_is_said() -> None:
    whole = {name.replace("-", "_"): lambda minute: Sample(60 * minute, 100, 5, 20) for name in usage.WATCHED}
    assert hour(**whole).unwatched() == []
    young = hour(**{**whole, "trainer": lambda minute: Sample(60 * (minute % 40), 100, 5, 20)})
    assert young.unwatched() == ["trainer was not watched long enough"]
    del young.samples["nginx/1"]
    assert young.unwatched() == ["trainer was not watched long enough", "nginx was not watched long enough"]
    assert len(Usage().unwatched()) == len(usage.WATCHED)


def test_a_death_without_a_fault_is_seen() -> None:
    before = {"api-1": {1, 2}, "worker": {3}, "broker": {4}}
    assert usage.deaths(before, {"api-1": {1, 2}, "worker": {3}, "broker": {4}}, "") == []
    assert usage.deaths(before, {"api-1": {1, 5}, "worker": {3}, "broker": {4}}, "") == ["api-1 died by itself: [2]"]
    assert usage.deaths(before, {"api-1": {1, 2}, "worker": {6}, "broker": {4}}, "worker") == []
    assert usage.deaths(before, {"api-1": {1, 2}, "worker": {6}}, "worker") == ["broker died by itself: [4]"]


def test_nobody_is_ended_after_the_thirteenth_minute_of_an_hour_and_everybody_before() -> None:
    drawn = soak.faults(random.Random(7))
    for _ in range(2):
        minutes = [next(drawn) for _ in range(60)]
        assert sorted(one.ends for one in minutes[:13]) == sorted([*PROCESSES, *PROCESSES, "broker"])
        assert not [one.ends for one in minutes[13:] if one.ends]
        assert {*minutes[13 : 13 + len(soak.FAULTS)]} == {*minutes[13:]} == {*soak.FAULTS}
