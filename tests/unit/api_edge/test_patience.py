"""How long a batch is waited for, and how many are sent twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.predict.patience import AGAIN_S, FLOOR_S, UNKNOWN_S, Budget, Pace


def test_before_anything_is_known_patience_is_long() -> None:
    assert Pace().patience_s == UNKNOWN_S


def test_a_further_copy_comes_sooner_each_time_but_never_at_once() -> None:
    waits = [Pace().again_s(copies) for copies in range(1, 8)]
    assert waits[:3] == [UNKNOWN_S, UNKNOWN_S / 2, UNKNOWN_S / 4]
    assert waits == sorted(waits, reverse=True)
    assert waits[-1] == AGAIN_S


def test_patience_is_a_few_times_the_usual_time() -> None:
    pace = Pace()
    for _ in range(100):
        pace.observe(0.3, 10, 0.1, 1.0)
    assert 1.2 <= pace.patience_s < 1.3


def test_patience_has_a_floor() -> None:
    pace = Pace()
    for _ in range(50):
        pace.observe(0.001, 10, 0.1, 1.0)
    assert pace.patience_s == FLOOR_S


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_patience_is_never_below_the_floor_nor_beyond_what_was_seen(seconds: list[float]) -> None:
    pace = Pace()
    for one in seconds:
        pace.observe(one, 10, 0.1, 1.0)
    assert FLOOR_S <= pace.patience_s <= max(FLOOR_S, 8 * max(seconds) + 1e-6)


@given(st.lists(st.booleans(), max_size=500), st.sampled_from([0.05, 0.1, 0.5]))
def test_copies_never_exceed_their_share_and_the_first_credit(late: list[bool], share: float) -> None:
    budget = Budget(share)
    copies = 0
    for one in late:
        budget.earn()
        copies += one and budget.spend()
    assert copies <= 5 + share * len(late)


def test_without_a_share_only_the_first_credit_is_there() -> None:
    budget = Budget(0.0, most=1.0)
    assert budget.spend()
    budget.earn()
    assert not budget.spend()


def heavy() -> Pace:
    """A thousand bytes are computed in 0.3 s, twice BATCH_S, and a batch is answered every 0.2 s."""
    pace = Pace()
    for number in range(1, 40):
        pace.observe(0.4, 1_000, 0.3, landed_at=number / 5)
    return pace


def test_a_batch_holds_about_what_is_computed_in_its_time() -> None:
    assert Pace().batch_bytes == float("inf")
    assert heavy().batch_bytes == pytest.approx(500)


def test_a_request_behind_more_than_its_time_takes_is_late() -> None:
    # Two batches a thousand bytes, and its own: 0.2 s each.
    assert not heavy().would_be_late(0.5, 1_900, most_s=1.0)
    assert heavy().would_be_late(0.5, 2_100, most_s=1.0)
    assert not heavy().would_be_late(0.5, 2_100, most_s=5.0)


def test_a_burst_is_taken_in_however_long_it_may_take() -> None:
    assert not heavy().would_be_late(0.05, 1_000_000, most_s=1.0)


def test_who_finds_others_waiting_for_longer_than_he_may_is_late() -> None:
    assert Pace().would_be_late(1.1, 0, most_s=1.0)


def test_a_light_model_beside_a_heavy_one_waits_for_turns_not_for_bytes() -> None:
    pace = Pace()
    for number in range(1, 40):
        pace.observe(0.3, 20, 0.000_1, landed_at=float(number))
    assert pace.batch_bytes > 20_000
    assert not pace.would_be_late(0.5, 2_000, most_s=1.0)
