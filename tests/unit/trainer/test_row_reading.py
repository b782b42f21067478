"""Rows of a dataset for predictors: a cell means what it means in a training, a bad one refuses its row."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tables import frames, rows
from tables.columns import Column
from tables.schema import Schema
from trainer import row_reading
from trainer.row_reading import Wanted
from trainer.table_blocks import Kind, Source, open_source
from trainer.table_files import read_table
from wire import errors, messages
from wire.row_blocks import Block

MIXED = Schema(
    (
        Column("age", "number"),
        Column("city", "text"),
        Column("member", "boolean"),
        Column("since", "date", "2020-01-01T00:00:00", "day_first"),
    )
)
AGE = Schema((Column("age", "number"),))


def source(tmp_path: Path, text: str, kind: Kind = "csv") -> Source:
    path = tmp_path / f"data.{kind}"
    path.write_text(text)
    return open_source(path, kind)


def parquet(tmp_path: Path, **columns: Any) -> Source:
    path = tmp_path / "data.parquet"
    pa.parquet.write_table(pa.table(columns), path)
    return open_source(path, "parquet")


def blocks(
    opened: Source, schema: Schema, carried: tuple[str, ...] = (), size: int = 100, limit: int = 10**6
) -> list[Block]:
    forms, _ = row_reading.number_forms(opened, schema, lambda: None)
    return list(row_reading.blocks(opened, Wanted(schema, carried, size, limit), forms))


def cells(opened: Source, schema: Schema) -> list[Any]:
    return [row for block in blocks(opened, schema) for row in json.loads(block.rows)]


def refused(opened: Source, schema: Schema) -> dict[int, str]:
    return {each.row: each.problem for block in blocks(opened, schema) for each in block.refused}


class TestMeaning:
    def test_a_prediction_decodes_what_a_training_of_the_same_file_was_fed(self, tmp_path: Path) -> None:
        text = (
            "id,since,age,city,member\n"
            '1,31.12.2020,"1.234,5"," Paris ",TRUE\n'
            '2,,?,"New York, ""NY""",false\n'
            "3,2021-06-01,-7,NULL,\n"
            '4,01.02.2021 12:30,"0,25",Überlingen,True\n'
        )
        opened = source(tmp_path, text)
        trained = read_table(tmp_path / "data.csv", "csv")
        names = list(MIXED.names)
        schema = frames.make_schema(trained.frame, trained.types, names, date_forms=trained.date_forms)
        [block] = blocks(opened, schema)
        decoded = rows.decode_json(block.rows, schema, max_rows=10)
        fed = frames.from_frame(trained.frame, schema)
        np.testing.assert_array_equal(decoded.numbers, fed.numbers)
        np.testing.assert_array_equal(decoded.texts, fed.texts)

    @pytest.mark.parametrize(
        ("separator", "written", "meant"),
        [
            (",", '"1,234"', 1234.0),
            (";", "1,234", 1.234),
            (";", "1.234,5", 1234.5),
            (",", "1e3", 1000.0),
        ],
    )
    def test_a_number_is_read_as_its_column_writes_numbers(
        self, tmp_path: Path, separator: str, written: str, meant: float
    ) -> None:
        text = f"key{separator}age\n1{separator}{written}\n"
        assert cells(source(tmp_path, text), AGE) == [[meant]]

    def test_one_bad_cell_does_not_change_how_the_others_are_read(self, tmp_path: Path) -> None:
        opened = source(tmp_path, "key;age\n1;1,5\n2;old\n3;2,5\n")
        assert cells(opened, AGE) == [[1.5], [2.5]]
        assert refused(opened, AGE) == {1: "age must be a number, or empty where it is missing"}

    def test_json_lines_are_read_like_a_request(self, tmp_path: Path) -> None:
        text = '{"age":1,"city":"Rome","member":true,"since":"2020-01-02"}\n{"age":null,"city":null}\n'
        assert cells(source(tmp_path, text, "jsonl"), MIXED) == [
            [1.0, "Rome", True, "2020-01-02"],
            [None, None, None, None],
        ]


class TestRefusals:
    def test_a_bad_cell_refuses_its_row_and_says_which_column(self, tmp_path: Path) -> None:
        text = "age,city,member,since\n1,a,true,2020-01-01\nx,a,maybe,2020-01-01\n1,a,,99.99.2020\n1,a,yes,\n1,b,,\n"
        opened = source(tmp_path, text)
        found = refused(opened, MIXED)
        assert sorted(found) == [1, 2, 3]
        assert found[1].startswith("age must be a number")
        assert found[2].startswith("since must be a date")
        assert found[3].startswith("member must be true or false")
        assert cells(opened, MIXED) == [[1.0, "a", True, "2020-01-01"], [1.0, "b", None, None]]

    def test_an_infinite_number_refuses_its_row(self, tmp_path: Path) -> None:
        opened = source(tmp_path, "key,age\n1,1e999\n2,2\n3,x\n")
        assert refused(opened, AGE) == {
            0: "age is a number out of range",
            2: "age must be a number, or empty where it is missing",
        }

    def test_a_row_too_long_for_a_message_is_refused(self, tmp_path: Path) -> None:
        schema = Schema((Column("note", "text"),))
        opened = source(tmp_path, "key,note\n1," + "x" * (row_reading.LONGEST_ROW_BYTES + 1) + "\n2,y\n")
        found = blocks(opened, schema)
        assert [(block.total, block.readable) for block in found] == [(1, 0), (1, 1)]
        assert found[0].refused[0].problem == "is longer than 4 MiB"

    def test_a_table_without_a_column_of_the_model_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(errors.BadInput, match="lacks columns of the model: city, member, since"):
            row_reading.check_columns(source(tmp_path, "age\n1\n"), MIXED)

    def test_a_table_without_rows_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(errors.BadInput, match="no rows"):
            blocks(source(tmp_path, "age,b\n"), AGE)


class TestParquet:
    def test_declared_types_are_what_a_request_would_write(self, tmp_path: Path) -> None:
        opened = parquet(
            tmp_path,
            age=pa.array([1.5, math.nan, None, math.inf]),
            city=["Paris", " NA ", None, "x"],
            member=[True, None, False, True],
            since=[datetime.date(2020, 1, 2), None, datetime.date(2021, 1, 1), None],
        )
        assert cells(opened, MIXED) == [
            [1.5, "Paris", True, "2020-01-02T00:00:00"],
            [None, None, None, None],
            [None, None, False, "2021-01-01T00:00:00"],
        ]
        assert refused(opened, MIXED) == {3: "age is a number out of range"}

    def test_whole_numbers_may_stand_for_text_and_others_not(self, tmp_path: Path) -> None:
        schema = Schema((Column("code", "text"),))
        opened = parquet(tmp_path, code=[7.0, 0.5, None, -3.0])
        assert cells(opened, schema) == [["7"], [None], ["-3"]]
        assert refused(opened, schema) == {1: "code must be text or a whole number"}

    @pytest.mark.parametrize("column", [Column("a", "number"), Column("a", "boolean"), Column("a", "text")])
    def test_a_column_of_another_type_is_refused_as_a_whole(self, tmp_path: Path, column: Column) -> None:
        opened = parquet(tmp_path, a=[datetime.date(2020, 1, 1)])
        with pytest.raises(errors.BadInput, match=f"type date in the dataset and of the type {column.type}"):
            blocks(opened, Schema((column,)))


class TestCarried:
    def test_input_columns_are_carried_as_csv_in_the_order_asked_for(self, tmp_path: Path) -> None:
        opened = source(tmp_path, 'age,name,note\n1,"a,b",NA\n2,"say ""hi""",x\n')
        [block] = blocks(opened, AGE, ("note", "name"))
        assert json.loads(block.carried) == [',"a,b"', 'x,"say ""hi"""']

    def test_declared_types_are_carried_in_their_shortest_form(self, tmp_path: Path) -> None:
        moment = datetime.datetime(2020, 1, 2, 3, 4, 5)
        opened = parquet(tmp_path, age=[1.0, 0.1, None], yes=[True, False, None], at=[moment, None, moment])
        [block] = blocks(opened, AGE, ("age", "yes", "at"))
        assert json.loads(block.carried) == ["1,true,2020-01-02T03:04:05", "0.1,false,", ",,2020-01-02T03:04:05"]

    def test_all_columns_can_be_carried_but_for_names_of_the_output(self, tmp_path: Path) -> None:
        asked = messages.ReadRows(
            job_id="j", draft="d", dataset_id="i", features={}, carry_all=True, block_rows=1, block_bytes=1
        )
        assert row_reading.carried_names(source(tmp_path, "age,b\n1,2\n"), asked) == ("age", "b")
        with pytest.raises(errors.BadInput, match="error can't be carried"):
            row_reading.carried_names(source(tmp_path, "age,error\n1,2\n"), asked)

    def test_a_column_that_is_not_there_cannot_be_carried(self, tmp_path: Path) -> None:
        asked = messages.ReadRows(
            job_id="j", draft="d", dataset_id="i", features={}, carried=("b", "canary"), block_rows=1, block_bytes=1
        )
        with pytest.raises(errors.BadInput, match=r"is to carry: columns\[1\]\."):
            row_reading.carried_names(source(tmp_path, "age,b\n1,2\n"), asked)


class TestBlocks:
    def test_rows_keep_their_order_and_blocks_their_bounds(self, tmp_path: Path) -> None:
        text = "age,note\n" + "".join(f"{at},{'x' * (at % 50)}\n" for at in range(1000))
        schema = Schema((Column("age", "number"), Column("note", "text")))
        found = blocks(source(tmp_path, text), schema, ("age",), size=90, limit=2_000)
        assert max(block.total for block in found) <= 90
        assert max(len(block.rows) for block in found) <= 2_000
        assert [row[0] for block in found for row in json.loads(block.rows)] == list(range(1000))
        assert [key for block in found for key in json.loads(block.carried)] == [str(at) for at in range(1000)]

    def test_what_is_carried_is_bounded_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(row_reading, "LONGEST_ROW_BYTES", 1_000)
        text = "age,b,c\n" + "".join(f"{at},{'x' * 90},y\n" for at in range(100)) + f"100,{'x' * 1_000},y\n101,x,y\n"
        found = blocks(source(tmp_path, text), AGE, ("b", "c"))
        assert max(len(block.carried) for block in found) <= 1_000
        lines = [line for block in found for line in json.loads(block.carried)]
        assert lines == [f"{'x' * 90},y"] * 100 + [",", "x,y"]
        assert [row for block in found for row in json.loads(block.rows)] == [[at] for at in (*range(100), 101)]
        assert [each.problem for block in found for each in block.refused] == ["is longer than 0 MiB"]

    def test_the_same_file_gives_the_same_blocks(self, tmp_path: Path) -> None:
        opened = source(tmp_path, "age,b\n" + "1.5,x\n" * 500)
        assert blocks(opened, AGE, ("b",), size=7) == blocks(opened, AGE, ("b",), size=7)
