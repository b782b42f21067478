from wire.deadlines import Deadline


def test_time_left_counts_down_and_never_below_zero() -> None:
    deadline = Deadline.after(10)
    assert 9 < deadline.remaining_s <= 10
    assert 9_000 < deadline.remaining_ms <= 10_000
    assert not deadline.expired


def test_a_passed_deadline_has_nothing_left() -> None:
    deadline = Deadline.after(-1)
    assert (deadline.remaining_s, deadline.remaining_ms, deadline.expired) == (0.0, 0, True)
