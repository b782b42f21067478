from __future__ import annotations

import math

from predictor.pace import Pace


def test_nothing_measured_means_no_promise() -> None:
    assert Pace().estimate_s(1) == math.inf


def test_a_size_that_was_met_takes_what_it_took() -> None:
    pace = Pace()
    pace.note(100, 0.25)
    assert pace.estimate_s(100) == pace.estimate_s(70) == 0.25


def test_a_smaller_size_takes_no_longer_and_a_larger_one_in_proportion() -> None:
    pace = Pace()
    pace.note(16, 1.0)
    assert pace.estimate_s(1) == 1.0
    assert pace.estimate_s(64) == 4.0
    pace.note(256, 2.0)
    assert pace.estimate_s(64) == 2.0


def test_one_disturbed_batch_is_forgotten_after_a_few() -> None:
    pace = Pace()
    pace.note(1, 0.001)
    pace.note(1, 1.0)
    assert pace.estimate_s(1) > 0.1
    for _ in range(30):
        pace.note(1, 0.001)
    assert pace.estimate_s(1) < 0.003


def test_any_number_of_rows_has_a_place() -> None:
    pace = Pace()
    pace.note(10**12, 5.0)
    assert pace.estimate_s(10**15) == 5.0
