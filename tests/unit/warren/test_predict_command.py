"""``warren predict`` over files of every kind: every row once, in order, bad ones named by their line."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tables import cells, missing
from tests.unit.warren.gateway import ScriptedGateway, problem
from tests.unit.warren.served import Served
from warren.command import columns, main, rowfiles

Run = Callable[..., tuple[int, str, str]]
TABLE = """\
age,plan,paid,since,left
31,basic,true,2026-03-01,no
58.5,"plus, twice",False,,yes
NA,,?,,no
"""


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
def run(served: Served, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs the command against the served model: its status, what it wrote, what it said."""
    with ScriptedGateway(served) as gateway:

        def call(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin))))
            status = main(["--url", gateway.url, *map(str, arguments)])
            return (status, *capfd.readouterr())

        yield call


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return path


def test_a_csv_file_comes_back_with_its_predictions(run: Run, served: Served, table: Path) -> None:
    status, written, said = run("predict", "m", table)
    assert status == 0
    assert list(csv.reader(io.StringIO(written))) == [
        ["age", "plan", "paid", "since", "left", "prediction"],
        ["31", "basic", "true", "2026-03-01", "no", "no"],
        ["58.5", "plus, twice", "False", "", "yes", "yes"],
        ["NA", "", "?", "", "no", "no"],
    ]
    assert served.rows == [[31, "basic", True, "2026-03-01"], [58.5, "plus, twice", False, None], [None] * 4]
    assert "3 rows predicted by m, version 3" in said


def test_a_bad_row_costs_itself_and_no_other(run: Run, served: Served, tmp_path: Path) -> None:
    path, out = tmp_path / "table.csv", tmp_path / "out.csv"
    ages = ["old" if number % 3 == 0 else str(number) for number in range(100)]
    path.write_text("age,plan\n" + "".join(f"{age},basic\n" for age in ages) + "50\n")
    status, _, said = run("predict", "m", path, "-o", out, "--rows", 50)
    assert status == 1
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["age"] for row in rows] == [*ages, "50"]
    assert [row["prediction"] == "" for row in rows] == [age == "old" for age in ages] + [True]
    assert "line 2: age must be a number" in said
    assert said.count("\nline ") + said.startswith("line ") == 20
    assert "35 rows could not be predicted" in said
    assert sum(served.sizes) == 66
    assert not list(tmp_path.glob("*.part"))


def test_too_many_bad_rows_end_the_run_and_leave_no_output(run: Run, tmp_path: Path) -> None:
    path, out = tmp_path / "table.csv", tmp_path / "out.csv"
    path.write_text("age\n" + "old\n" * 100)
    status, _, said = run("predict", "m", path, "-o", out, "--max-faults", 10, "--rows", 20)
    assert (status, out.exists()) == (1, False)
    assert "--max-faults" in said


def test_json_lines_in_and_out(run: Run, served: Served) -> None:
    lines = b'{"age": 50, "city": "Oslo"}\n\n[1, null, true, null]\n{"nothing": 1}\nnot json\n{"age": "x"}\n'
    status, written, said = run("predict", "m", "--probabilities", stdin=lines)
    assert status == 1
    assert [json.loads(line) for line in written.splitlines()] == [
        {"age": 50, "city": "Oslo", "prediction": "yes", "probabilities": {"no": 0.25, "yes": 0.75}},
        {
            "age": 1,
            "plan": None,
            "paid": True,
            "since": None,
            "prediction": "no",
            "probabilities": {"no": 0.25, "yes": 0.75},
        },
        {"nothing": 1, "prediction": None, "error": "has none of the model's columns", "line": 4},
        {"prediction": None, "error": "is no JSON object or array", "line": 5},
        {"age": "x", "prediction": None, "error": "age must be a number", "line": 6},
    ]
    assert "city" in said


def test_formats_mix(run: Run, table: Path, tmp_path: Path) -> None:
    _, written, _ = run("predict", "m", table, "--format", "jsonl", "--only-predictions")
    assert [json.loads(line) for line in written.splitlines()] == [{"prediction": each} for each in ("no", "yes", "no")]
    lines = tmp_path / "rows.jsonl"
    lines.write_text('{"age": 50}\n')
    assert run("predict", "m", lines, "--format", "csv")[1] == "prediction\nyes\n"
    _, written, said = run("predict", "m", table, "--json")
    assert json.loads(written.splitlines()[1])["prediction"] == "yes"
    assert json.loads(said) == {"model": "m", "version": 3, "rows": 3, "faults": 0}


def test_probabilities_have_a_column_for_each_class(run: Run, table: Path) -> None:
    _, written, _ = run("predict", "m", table, "--probabilities", "--only-predictions")
    assert written.splitlines()[:2] == ["prediction,probability_no,probability_yes", "no,0.25,0.75"]


def test_other_separators_marks_and_line_ends(run: Run, served: Served, tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_bytes(b'\xef\xbb\xbfage\tplan\r\n31\t"two\nlines"\r\n\r\n58\tbasic\r\n')
    status, _, said = run("predict", "m", path)
    assert status == 0
    assert served.rows == [[31, "two\nlines", None, None], [58, "basic", None, None]]
    assert "Not in the file, so missing in every row: paid, since" in said
    assert run("predict", "m", path, "--separator", ";;")[0] == 2


def test_many_rows_are_sent_several_requests_at_once_and_stay_in_order(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("age\n" + "".join(f"{number}\n" for number in range(5000)))
    served.meeting = threading.Barrier(3)
    status, written, _ = run("predict", "m", path, "--rows", 100, "--in-flight", 3)
    assert status == 0
    assert written.splitlines()[1:] == [f"{number},{'yes' if number > 40 else 'no'}" for number in range(5000)]
    assert served.sizes == [100] * 50
    assert served.most_at_once == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no header"),
        (b"colour,shape\nred,round\n", "None of the model's columns"),
        (b"age,age\n1,2\n", "the same name"),
        (b"age,prediction\n1,2\n", "a column prediction already"),
        (b"age\n\xff\n", "Line 2 is not UTF-8"),
        (b'age,plan\n1,"open' + b"x\n" * 10 + b"y" * (rowfiles.MAX_LINE_BYTES + 2), "longer than"),
    ],
)
def test_what_is_no_table_of_this_model_is_refused(run: Run, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    status, _, told = run("predict", "m", path)
    assert status == 1
    assert said in told


def test_an_error_that_concerns_no_row_ends_the_run(capfd: pytest.CaptureFixture[str], table: Path) -> None:
    class Away(Served):
        def _predict(self, body: object) -> object:
            return problem(404, "version_not_found")

    with ScriptedGateway(Away()) as gateway:
        assert main(["predict", "m", str(table), "--url", gateway.url]) == 3
    assert "version_not_found" in capfd.readouterr().err


def test_cells_are_read_as_a_training_reads_them() -> None:
    assert columns.MARKERS == missing.MARKERS
    assert columns._number.pattern == cells.PLAIN_NUMBER
    reader = columns.Columns([rowfiles.Feature("n", "number"), rowfiles.Feature("b", "boolean")], ["n", "b"])
    assert reader.row([" 1.5 ", " TRUE "]) == [1.5, True]
    assert reader.row(["02134", "yes"]) == ["02134", "yes"]
    assert reader.row(["1e999", "-"]) == ["1e999", None]
