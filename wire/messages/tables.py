"""What a worker says about an offline prediction: tables to read and write, and one that failed for good."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from wire import errors
from wire.messages.envelope import Message

OutputType = Literal["number", "integer", "text", "boolean", "date"]


class OutputColumn(msgspec.Struct, frozen=True):
    """One column of an output: its name and the type its cells have in Parquet."""

    name: str
    type: OutputType


class ReadRows(Message, frozen=True, kw_only=True):
    """Write a dataset's rows into the draft, as a version reads them (wire.row_blocks).

    ``features`` is the version's schema as its manifest has it; ``carried`` names the input columns
    that go into the output, ``carry_all`` means every one.
    """

    TYPE: ClassVar[str] = "rows.read"
    job_id: str
    draft: str
    dataset_id: str
    features: Any
    carried: tuple[str, ...] = ()
    carry_all: bool = False
    block_rows: int
    block_bytes: int


class RowsRead(Message, frozen=True, kw_only=True):
    """The rows are in the draft: how many, how many of them cannot be read, and what is carried."""

    TYPE: ClassVar[str] = "rows.done"
    job_id: str
    rows: int
    refused: int
    carried: tuple[OutputColumn, ...] = ()


class WriteParquet(Message, frozen=True, kw_only=True):
    """Write the draft's finished CSV as Parquet beside it; ``columns`` are all of its columns."""

    TYPE: ClassVar[str] = "output.write"
    job_id: str
    draft: str
    columns: tuple[OutputColumn, ...]


class ParquetWritten(Message, frozen=True, kw_only=True):
    """The Parquet file is complete and on the disk."""

    TYPE: ClassVar[str] = "output.written"
    job_id: str
    size_bytes: int


class BatchDead(Message, frozen=True, kw_only=True):
    """Worker to the dead letters: an offline prediction that failed for good, and why.

    ``request`` is what the job remembers of the call, for people to read; a replay takes it from the ledger.
    """

    TYPE: ClassVar[str] = "batch.dead"
    job_id: str
    owner: str
    model: str
    dataset_id: str | None
    attempts: int
    error: errors.ErrorBody
    request: dict[str, Any]
