from __future__ import annotations

import math

import numpy as np
import pytest

from tables import cells
from tables.missing import MARKERS, is_missing


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0.0),
        ("-1.5", -1.5),
        ("+2", 2.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E-3", 0.001),
        ("0.1", 0.1),
        ("9007199254740993", 9007199254740992.0),
        ("1e999", math.inf),
        ("-1e999", -math.inf),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
    ],
)
def test_numbers_have_a_decimal_point(text: str, number: float) -> None:
    assert cells.parse_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "007", "-01", "1,5", "1_0", "0x1", "nan", "1 2", "1e", "\u0661", ".", "e5", "1.2.3"]
)
def test_what_is_no_number_is_no_number(text: str) -> None:
    assert cells.parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("TRUE", True), ("False", False), ("yes", None), ("1", None), ("", None), ("true or so", None)],
)
def test_booleans_are_true_and_false(text: str, value: bool | None) -> None:
    assert cells.parse_boolean(text) is value


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2020-12-31", "2020-12-31T00:00:00"),
        ("2020/12/31", "2020-12-31T00:00:00"),
        ("2020-12-31T10:20", "2020-12-31T10:20:00"),
        ("2020-12-31 10:20:30", "2020-12-31T10:20:30"),
        ("2020-12-31T10:20:30.1234567", "2020-12-31T10:20:30.123456"),
        ("2020-12-31T10:20:30Z", "2020-12-31T10:20:30"),
        ("2020-12-31T00:20:30+01:00", "2020-12-30T23:20:30"),
        ("2020-12-31T10:20-0130", "2020-12-31T11:50:00"),
        ("2020-12-31T10:20+02", "2020-12-31T08:20:00"),
        ("1900-03-01", "1900-03-01T00:00:00"),
    ],
)
def test_iso_dates_become_moments_in_utc(text: str, iso: str) -> None:
    moment = cells.parse_date(text)
    assert moment is not None
    assert cells.iso(moment) == iso
    assert cells.origin_us(iso) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020-02-30",
        "2020-13-01",
        "2020-12/31",
        "2020-12-31T24:00",
        "2020-12-31T10:20:60",
        "20201231",
        "2020-W01-1",
        "31.12.2020",
        "0001-01-01T00:00+05:00",
        "9999-12-31T23:59-05:00",
        "2020-12-31T10:20:30,5",
    ],
)
def test_what_is_no_iso_date_is_no_date(text: str) -> None:
    assert cells.parse_date(text) is None


def test_other_forms_are_read_only_where_the_column_has_them() -> None:
    expected = cells.parse_date("2020-12-31T10:00")
    assert cells.parse_date("31.12.2020 10:00", "day_first") == expected
    assert cells.parse_date("12/31/2020 10:00", "month_first") == expected
    assert cells.parse_date("2020-12-31 10:00", "month_first") == expected
    assert cells.parse_date("1-2-2020", "day_first") == cells.parse_date("2020-02-01")
    assert cells.parse_date("12/31/2020", "day_first") is None
    assert cells.parse_date("31.12-2020", "day_first") is None
    assert cells.parse_date("yesterday", "day_first") is None


def test_days_are_rounded_as_numpy_rounds_them() -> None:
    far, origin = cells.parse_date("9999-12-31T23:59:59.999999"), cells.parse_date("0001-01-01")
    assert far is not None
    assert origin is not None
    assert cells.days(far, origin) == float((np.array([far - origin]).astype(np.float64) / cells.DAY_US)[0])


def test_white_space_and_markers_are_cleaned_away() -> None:
    assert cells.clean("\u00a0 Paris\t") == "Paris"
    assert all(cells.clean(f" {marker} ") == "" and is_missing(marker) for marker in MARKERS)
    assert cells.clean("none") == "none"
