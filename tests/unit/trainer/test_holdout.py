"""Which rows are kept out: the same row on the same side, in every table of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.trainer.training import numbers, typed
from trainer import holdout
from trainer.table_files import TypedTable
from wire import errors, messages


def split(table: TypedTable, model: str = "m", classes: Any = None, **fields: Any) -> holdout.Split:
    return holdout.split(table.frame, table.types, messages.Validation(**fields), model, classes)


def kept(table: TypedTable, **fields: Any) -> set[tuple[object, ...]]:
    mask = split(table, **fields).holdout
    return {tuple(row) for row in table.frame[mask].itertuples(index=False)}


def test_about_the_asked_share_is_kept_out() -> None:
    assert 0.17 < split(numbers(5000)).holdout.mean() < 0.23
    assert 0.37 < split(numbers(5000), holdout=0.4).holdout.mean() < 0.43


def test_a_row_keeps_its_side_when_the_table_grows_and_is_shuffled() -> None:
    table = numbers(1000)
    grown = TypedTable(table.frame.sample(frac=0.6, random_state=1)[["y", "b", "a"]], table.types, {})
    everything = {tuple(row[name] for name in ("a", "b", "y")) for _, row in grown.frame.iterrows()}
    mask = split(grown).holdout
    some = {tuple(row[name] for name in ("a", "b", "y")) for _, row in grown.frame[mask].iterrows()}
    assert some == kept(table) & everything


def test_equal_rows_fall_on_the_same_side() -> None:
    table = typed(a=np.repeat(np.arange(50.0), 8), y=np.repeat(np.arange(50.0), 8))
    sides = split(table).holdout.reshape(50, 8)
    assert np.all(sides == sides[:, :1])


def test_another_model_keeps_other_rows() -> None:
    table = numbers(1000)
    assert kept(table) != kept(table, model="other")


def test_a_smaller_share_keeps_a_part_of_the_same_rows() -> None:
    table = numbers(1000)
    assert kept(table, holdout=0.1) < kept(table, holdout=0.3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(allow_infinity=False), st.text(max_size=5)), min_size=1, max_size=20))
def test_hashes_depend_on_values_and_nothing_else(cells: list[tuple[float, str]]) -> None:
    table = typed(a=[one for one, _ in cells], t=np.array([f"{text}." for _, text in cells], dtype=str))
    whole = holdout.row_hashes(table.frame, table.types, ["a", "t"], "m")
    for row in range(len(cells)):
        alone = holdout.row_hashes(table.frame.iloc[row : row + 1], table.types, ["a", "t"], "m")
        assert alone[0] == whole[row]


def test_both_zeros_and_all_missing_numbers_are_alike() -> None:
    table = typed(a=[0.0, -0.0, np.nan, -np.nan, 1.0])
    zero, other, missing, again, one = holdout.row_hashes(table.frame, table.types, ["a"], "m").tolist()
    assert zero == other
    assert missing == again
    assert len({zero, missing, one}) == 3


def test_dates_enter_by_value() -> None:
    table = typed(d=np.array(["2020-01-01", "2020-01-02", "NaT"], dtype="datetime64[D]"))
    assert len(set(holdout.row_hashes(table.frame, table.types, ["d"], "m").tolist())) == 3


def test_a_tiny_table_is_judged_by_folds_and_says_so() -> None:
    tiny = split(numbers(12))
    assert tiny.by_folds
    assert not tiny.holdout.any()
    assert tiny.info == {"method": "folds", "rows": 12}
    assert split(numbers(1000), holdout=0.0).by_folds


def test_a_small_holdout_that_misses_a_class_gives_way_to_folds() -> None:
    table = numbers(60)
    rare = np.zeros(60, dtype=np.int64)
    rare[np.flatnonzero(~split(table).holdout)[:3]] = 1
    assert split(table, classes=rare).by_folds
    assert split(table, classes=np.arange(60) % 2).by_folds is False


def test_a_large_holdout_stays_when_it_misses_a_class() -> None:
    table = numbers(300)
    rare = np.arange(300, dtype=np.int64) % 2
    rare[np.flatnonzero(~split(table).holdout)[0]] = 2
    assert not split(table, classes=rare).by_folds


def test_the_last_rows_by_a_date_are_kept_out_and_found_again() -> None:
    days = np.arange("2020-01-01", "2020-04-10", dtype="datetime64[D]")
    table = typed(day=days, y=np.arange(100.0))
    found = split(table, order_by="day")
    assert np.flatnonzero(found.holdout).tolist() == list(range(80, 100))
    assert found.info["method"] == "order"
    later = typed(day=days + 50, y=np.arange(100.0))
    again = holdout.kept_out(later.frame, later.types, found.info, "m")
    assert np.flatnonzero(again).tolist() == list(range(30, 100))


def test_rows_of_one_moment_stay_together_and_missing_ones_are_learnt_from() -> None:
    moments = np.repeat([1.0, 2.0, np.nan, 3.0], 5)
    mask = split(typed(when=moments, y=np.arange(20.0)), order_by="when", holdout=0.1).holdout
    assert np.flatnonzero(mask).tolist() == list(range(15, 20))
    most = split(typed(when=[1.0, 1.0, 1.0, 1.0, 2.0], y=np.arange(5.0)), order_by="when", holdout=0.5)
    assert most.holdout.tolist() == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("order_by", "sentence"), [("z", "no column"), ("y", "dates or numbers"), ("same", "two different values")]
)
def test_a_column_that_cannot_order_is_refused(order_by: str, sentence: str) -> None:
    table = typed(same=np.ones(40), y=["a", "b"] * 20)
    with pytest.raises(errors.TrainingFailed, match=sentence):
        split(table, order_by=order_by)
    empty = typed(same=np.full(4, np.nan), y=["a", "b"] * 2)
    with pytest.raises(errors.TrainingFailed, match="two different values"):
        split(empty, order_by="same")


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        ({"method": "hash", "share": 0.2, "columns": ["a", "gone"]}, "columns that this table does not have"),
        ({"method": "order", "order_by": "y", "type": "date", "from": 0.0}, "the column that ordered"),
        ({"method": "folds"}, "trained on every row"),
        ({}, "trained on every row"),
    ],
)
def test_a_holdout_that_cannot_be_found_again_is_not_guessed(info: dict[str, object], sentence: str) -> None:
    table = numbers(10)
    with pytest.raises(holdout.NotComparable, match=sentence):
        holdout.kept_out(table.frame, table.types, info, "m")
