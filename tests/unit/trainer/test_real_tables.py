"""Tables as people have them: each is trained on well, or refused with a sentence that says what to change.

From a CSV file through the child to a published version that answers rows of a request.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.trainer.training import Bench, request

ROWS = 160
Cell = Callable[[int, float], str]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def csv(*columns: tuple[str, Cell], rows: int = ROWS, separator: str = ",") -> str:
    """Rows of a hidden signal from 0 to 1; each column makes its cell from the row's number and the signal."""
    draw = random.Random(5)
    lines = [separator.join(name for name, _ in columns)]
    for row in range(rows):
        signal = draw.random()
        lines.append(separator.join(cell(row, signal) for _, cell in columns))
    return "\n".join(lines) + "\n"


def size(row: int, signal: float) -> str:
    return f"{signal * 100:.3f}"


def noise(row: int, signal: float) -> str:
    return str(row * 7919 % 97)


def label(row: int, signal: float) -> str:
    return "big" if signal > 0.5 else "small"


def price(row: int, signal: float) -> str:
    return f"{1000 + 500 * signal:.2f}"


def test_numbers_and_a_text_target(bench: Bench) -> None:
    served = bench.trained(csv(("size", size), ("noise", noise), ("y", label)), request("LogisticRegression"))
    assert served.trained.classes == ["big", "small"]
    assert served.trained.score is not None
    assert served.trained.score > 0.9
    assert served.predict([{"size": 99, "noise": 1}, [2.5, 40]]) == ["big", "small"]


def test_a_number_target_is_a_regression(bench: Bench) -> None:
    served = bench.trained(csv(("size", size), ("noise", noise), ("y", price)), request("LinearRegression"))
    assert served.trained.classes is None
    assert served.trained.score == pytest.approx(1.0, abs=1e-6)
    assert served.predict([[50, 3]]) == [pytest.approx(1250, abs=1)]


def test_text_categories_with_many_levels(bench: Bench) -> None:
    def many(row: int, signal: float) -> str:
        return f"town {int(signal * 60)}"

    served = bench.trained(csv(("town", many), ("noise", noise), ("y", label)), request("LogisticRegression"))
    assert served.trained.score is not None
    assert served.trained.score > 0.8
    assert served.predict([{"town": "town 59", "noise": 1}, {"town": "town 1", "noise": 1}]) == ["big", "small"]
    assert served.predict([{"town": "never seen", "noise": 1}])[0] in ("big", "small")


def test_booleans(bench: Bench) -> None:
    def flag(row: int, signal: float) -> str:
        return "true" if signal > 0.5 else "False"

    served = bench.trained(csv(("flag", flag), ("noise", noise), ("y", label)), request("DecisionTreeClassifier"))
    assert served.predict([{"flag": True, "noise": 1}, {"flag": False, "noise": 1}]) == ["big", "small"]


def test_a_boolean_target(bench: Bench) -> None:
    def flag(row: int, signal: float) -> str:
        return "true" if signal > 0.5 else "false"

    served = bench.trained(csv(("size", size), ("noise", noise), ("y", flag)), request("GaussianNB"))
    assert served.trained.classes == [False, True]
    assert served.predict([[95, 1], [5, 1]]) == [True, False]


def test_dates(bench: Bench) -> None:
    def day(row: int, signal: float) -> str:
        return f"20{10 + int(signal * 10):02d}-0{1 + row % 9}-15"

    served = bench.trained(csv(("day", day), ("noise", noise), ("y", label)), request("RandomForestClassifier"))
    assert served.predict([{"day": "2019-05-15", "noise": 1}, {"day": "2011-05-15", "noise": 1}]) == ["big", "small"]


def test_missing_cells(bench: Bench) -> None:
    def gaps(row: int, signal: float) -> str:
        return "NA" if row % 5 == 0 else size(row, signal)

    def words(row: int, signal: float) -> str:
        return "" if row % 7 == 0 else label(row, signal).upper()

    table = csv(("gaps", gaps), ("words", words), ("y", label))
    served = bench.trained(table, request("LogisticRegression"))
    assert served.trained.score is not None
    assert served.trained.score > 0.8
    rows = [{"gaps": None, "words": "BIG"}, {"gaps": 3, "words": ""}, {"words": "SMALL"}]
    assert served.predict(rows) == ["big", "small", "small"]


def test_missing_cells_stay_missing_for_boosted_trees(bench: Bench) -> None:
    def gaps(row: int, signal: float) -> str:
        return "" if signal > 0.5 else size(row, signal)

    served = bench.trained(
        csv(("gaps", gaps), ("noise", noise), ("y", label)), request("HistGradientBoostingClassifier")
    )
    assert served.trained.score is not None
    assert served.trained.score > 0.9
    assert served.predict([{"gaps": None, "noise": 3}, {"gaps": 20, "noise": 3}]) == ["big", "small"]


def test_a_byte_order_mark_and_semicolons(bench: Bench) -> None:
    table = csv(("size", size), ("noise", noise), ("y", label), separator=";")
    served = bench.trained(b"\xef\xbb\xbf" + table.encode(), request("LogisticRegression"))
    assert served.predict([{"size": 99, "noise": 1}]) == ["big"]


def test_quoted_newlines(bench: Bench) -> None:
    def words(row: int, signal: float) -> str:
        return f'"is ""{label(row, signal)}"",\nreally"'

    served = bench.trained(csv(("words", words), ("noise", noise), ("y", label)), request("LogisticRegression"))
    assert served.predict([{"words": 'is "big",\nreally', "noise": 1}]) == ["big"]


def test_constant_empty_and_identifying_columns_are_left_out_with_a_note(bench: Bench) -> None:
    table = csv(
        ("same", lambda row, signal: "7"),
        ("nothing", lambda row, signal: ""),
        ("id", lambda row, signal: f"customer-{row}"),
        ("size", size),
        ("y", label),
    )
    served = bench.trained(table, request("LogisticRegression"))
    assert [column["name"] for column in served.trained.features["columns"]] == ["size"]
    notes = " ".join(served.trained.report["notes"])
    assert "column same was left out: it has one value" in notes
    assert "column nothing was left out: it is empty" in notes
    assert "column id was left out: it has a different text in every row" in notes
    assert served.predict([{"id": "customer-9", "same": 7, "size": 99}, [3]]) == ["big", "small"]


def test_rows_without_a_target_are_left_out_and_counted(bench: Bench) -> None:
    def some(row: int, signal: float) -> str:
        return "" if row % 4 == 0 else label(row, signal)

    served = bench.trained(csv(("size", size), ("noise", noise), ("y", some)), request("LogisticRegression"))
    assert served.trained.report["rows"]["without_target"] == ROWS // 4
    assert "40 rows have no target and were left out" in served.trained.report["notes"]


@pytest.mark.parametrize(
    ("target", "estimator", "sentence"),
    [
        (lambda row, signal: "", "auto", "the target is missing in every row"),
        (lambda row, signal: "yes", "auto", "one class in every row"),
        (lambda row, signal: "3", "Ridge", "the same value in every row"),
        (label, "Ridge", "the target holds texts, a regressor needs numbers; name a classifier"),
        (lambda row, signal: str(signal > 0.5).lower(), "Ridge", "the target holds true and false"),
        (price, "LogisticRegression", "too many classes; name a regressor"),
        (lambda row, signal: f"name {row}", "auto", "too many classes; choose another column"),
        (lambda row, signal: f"2020-01-{1 + row % 28:02d}", "auto", "the target holds dates"),
        (lambda row, signal: "yes" if row == 1 else "", "auto", "1 of 160 rows have a target; at least 4"),
    ],
)
def test_a_target_that_cannot_be_learnt_is_refused_with_a_sentence(
    bench: Bench, target: Cell, estimator: str, sentence: str
) -> None:
    assert sentence in bench.refused(csv(("size", size), ("noise", noise), ("y", target)), request(estimator))


def test_an_unknown_target_is_told_the_columns_there_are(bench: Bench) -> None:
    told = bench.refused(csv(("size", size), ("y", label)), request("auto", target="z"))
    assert "it has size, y" in told


def test_a_table_with_nothing_to_learn_from_is_refused(bench: Bench) -> None:
    table = csv(("id", lambda row, signal: f"id {row}"), ("same", lambda row, signal: "1"), ("y", label))
    assert "no column is left to learn from" in bench.refused(table, request("auto"))


def test_a_broken_file_is_refused_with_the_reader_s_sentence(bench: Bench) -> None:
    assert "line" in bench.refused("a,b,y\n1,2,x\n1,2\n", request("auto"))
