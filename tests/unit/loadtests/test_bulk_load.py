"""What `make bulk` reckons with: latencies of a span of time, and scikit-learn alone on the same file."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from loadtests import bulk, bulk_rows


def test_a_percentile_is_of_what_was_sent_in_its_spans() -> None:
    live = bulk.Live(port=1, rate=1)
    live.seconds = [(at / 100, 0.001 * at) for at in range(300)]
    assert bulk.percentile(live.within([(0.0, 1.0)]), 50) == pytest.approx(49.5)
    assert bulk.percentile(live.within([(1.0, 2.0)]), 99) == pytest.approx(199, abs=1)
    assert bulk.described(live.within([(0.0, 1.0), (2.0, 3.0)])).endswith("(200)")
    assert math.isnan(bulk.percentile([], 99))


def test_the_table_has_a_key_and_a_target_that_can_be_learnt() -> None:
    made = bulk_rows.table(500, 1)
    assert list(made.columns) == ["key", *(f"n{at}" for at in range(6)), "city", "left"]
    assert set(made["left"]) == {"yes", "no"}
    assert bulk_rows.table(500, 1).equals(made)


def test_scikit_learn_alone_answers_every_row(tmp_path: Path) -> None:
    file, output = tmp_path / "rows.csv", tmp_path / "answers.csv"
    bulk_rows.table(1_000, 2).drop(columns="left").to_csv(file, index=False)
    assert bulk_rows.in_process(file, bulk_rows.table(1_000, 1), output) > 0
    assert len(pd.read_csv(output)) == 1_000
