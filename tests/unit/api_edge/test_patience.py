"""How long a batch is waited for, and how many are sent twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.predict.patience import FLOOR_S, UNKNOWN_S, Budget, Pace


def test_before_anything_is_known_patience_is_long() -> None:
    assert Pace().patience_s == UNKNOWN_S


def test_patience_is_a_few_times_the_usual_time() -> None:
    pace = Pace()
    for _ in range(100):
        pace.observe(0.3)
    assert 1.2 <= pace.patience_s < 1.3


def test_patience_has_a_floor() -> None:
    pace = Pace()
    for _ in range(50):
        pace.observe(0.001)
    assert pace.patience_s == FLOOR_S


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_patience_is_never_below_the_floor_nor_beyond_what_was_seen(seconds: list[float]) -> None:
    pace = Pace()
    for one in seconds:
        pace.observe(one)
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
