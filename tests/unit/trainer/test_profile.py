from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from trainer import csv_source
from trainer import profile as profiling
from wire import errors, messages


def _profile(folder: Path, text: str) -> dict[str, messages.ColumnProfile]:
    path = folder / "data.csv"
    path.write_text(text)
    answer = profiling.profile(path, "csv")
    assert answer.rows == text.count("\n") - 1
    return {column.name: column for column in answer.columns}


def test_a_profile_counts_missing_and_distinct_cells(tmp_path: Path) -> None:
    columns = _profile(tmp_path, "a,b,c\n1,x,\n1.0,NA,\n2,x,?\n")
    assert columns["a"] == messages.ColumnProfile("a", "number", 0, 2)
    assert columns["b"] == messages.ColumnProfile("b", "text", 1, 1)
    assert columns["c"] == messages.ColumnProfile("c", "text", 3, 0)


@pytest.mark.parametrize(("count", "distinct"), [(1000, 1000), (1001, messages.MoreThan(1000))])
def test_distinct_is_exact_up_to_a_thousand(tmp_path: Path, count: int, distinct: int | messages.MoreThan) -> None:
    rows = "".join(f"{at},t{at}\n" for at in range(count))
    columns = _profile(tmp_path, "a,b\n" + rows * 2)
    assert columns["a"].distinct == distinct
    assert columns["b"].distinct == distinct


def test_values_written_in_many_ways_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 4_096)
    rows = "".join(f"{at}.{'0' * zeros}\n" for zeros in range(1, 4) for at in range(900))
    assert _profile(tmp_path, "a\n" + rows)["a"].distinct == 900


def test_the_command_answers_with_one_line(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tmp_path / "data.csv").write_text("a\n1\n")
    assert profiling.main([str(tmp_path)]) == 0
    out = capfdbinary.readouterr().out
    assert out.count(b"\n") == 1
    assert messages.DatasetProfile.decode(out).columns[0].name == "a"


def test_the_command_answers_a_refusal_as_a_failure(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,a\n1,2\n")
    done = subprocess.run([sys.executable, "-m", "trainer.profile", tmp_path], capture_output=True, check=True)
    failure = messages.Failure.decode(done.stdout)
    assert failure.error.code == errors.BadInput.code
    assert "same name" in failure.error.message


def test_the_command_says_when_memory_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(profiling, "profile", exhausted)
    (tmp_path / "data.csv").write_text("a\n1\n")
    profiling.main([str(tmp_path)])
    assert "memory" in messages.Failure.decode(capfdbinary.readouterr().out).error.message


_MEASURE = """
import pathlib, resource, sys
from trainer import csv_source
from trainer.profile import profile
csv_source.BLOCK_BYTES = 256 * 1024
profile(pathlib.Path(sys.argv[1]), "csv")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak_kib(path: Path) -> int:
    done = subprocess.run([sys.executable, "-c", _MEASURE, path], capture_output=True, check=True)
    return int(done.stdout)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    buffer = io.StringIO()
    for at in range(100_000):
        buffer.write(f"{at},{at * 7919 % 1000003 / 7:.4f},city {at * 31 % 5000},2020-01-{at % 28 + 1:02d}\n")
    block = buffer.getvalue()
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    with small.open("w") as one, large.open("w") as many:
        one.write("a,b,c,d\n" + block * 2)
        many.write("a,b,c,d\n" + block * 12)
    assert large.stat().st_size > 30_000_000
    assert _peak_kib(large) < _peak_kib(small) + 20_000
