"""A table of an offline prediction, read or written in a process of its own.

Started by ``trainer.table_work`` as ``python -m trainer.table_child <draft folder> <datasets folder> <most bytes
of the draft>`` with the request in the draft; writes its file there under another name, renames it when it is whole and
on the disk, and says on standard output how far it is and how it ended. It stops when the draft is taken
away: then nobody waits for it any more.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from model_store.errors import FULL
from tables.errors import BadSchema
from tables.schema import Schema
from trainer import row_reading, table_order
from trainer.column_forms import MOMENT
from trainer.dataset_files import dataset_folder
from trainer.spec import ChildProgress
from trainer.table_blocks import open_source
from trainer.table_files import find_table
from trainer.table_order import DONE, FAILED, PROGRESS
from wire import errors, messages, row_blocks
from wire.draft_file import DraftFile
from wire.settings import Bulk

CSV: Final = "output.csv"
"""The finished output, written by the worker."""
PARQUET: Final = "output.parquet"
"""The same as Parquet, written here."""

_WORK_S, _REST_S = 0.004, 0.02
"""Seconds of processor time after which it rests where others want the processor, and for how long."""
_GROUP_BYTES = 16 * 1024 * 1024
_READING: Final = 0.3
_ARROW: Final[dict[messages.OutputType, pa.DataType]] = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "date": MOMENT,
}


class DraftGone(Exception):
    """The draft was taken away: another attempt has one of its own."""


def main(arguments: list[str]) -> int:
    """Do what the draft's order says; the last line on standard output tells how it ended."""
    draft, datasets = Path(arguments[0]), Path(arguments[1])
    # A trainer that runs while its code is replaced may not give the bound yet.
    most_bytes = int(arguments[2]) if len(arguments) > 2 else Bulk().draft_bytes
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    with _standing_back():
        _answer(draft, datasets, most_bytes)
    return 0


def _answer(draft: Path, datasets: Path, most_bytes: int) -> None:
    try:
        _say(DONE, _run(draft, datasets, most_bytes).encode())
    except errors.WarrenError as error:
        _fail(error)
    except MemoryError:
        _fail(errors.BadInput("The table needs more memory to read than allowed.", hint="Use fewer columns."))
    except DraftGone:
        _fail(errors.Cancelled())
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in FULL
        if not full:
            traceback.print_exc(file=sys.stderr)
        _fail(errors.StorageFull() if full else errors.InternalError())


@contextmanager
def _standing_back() -> Iterator[None]:
    """What is done here may wait: the processor is for those who wait for an answer.

    Not even the idle class is enough: two threads of one core slow each other down. So whenever somebody took
    the processor away during the last milliseconds, it is left to them for some more.
    """
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    pushed = 0

    def rest(_number: int, _frame: object) -> None:
        nonlocal pushed
        if resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw > pushed:
            time.sleep(_REST_S)
        pushed = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw

    signal.signal(signal.SIGPROF, rest)
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, _WORK_S, _WORK_S)
    try:
        yield
    finally:
        # The interpreter gives signals back when it ends, and the next one would kill it after all was done.
        signal.setitimer(signal.ITIMER_PROF, 0)


def _run(draft: Path, datasets: Path, most_bytes: int) -> messages.RowsRead | messages.ParquetWritten:
    order = msgspec.json.decode((draft / table_order.FILE).read_bytes(), type=table_order.Order)
    if order.kind == messages.WriteParquet.TYPE:
        return write_parquet(draft, messages.WriteParquet.decode(bytes(order.message)), most_bytes)
    return read_rows(draft, datasets, messages.ReadRows.decode(bytes(order.message)), most_bytes)


def read_rows(draft: Path, datasets: Path, asked: messages.ReadRows, most_bytes: int) -> messages.RowsRead:
    """Write the draft's rows. Raises errors.BadInput, DatasetNotFound and StorageFull, DraftGone and OSError."""
    source = open_source(*find_table(dataset_folder(datasets, asked.dataset_id)))
    try:
        schema = Schema.from_builtins(asked.features)
    except BadSchema as error:
        raise errors.InternalError("a schema that cannot be read") from error
    row_reading.check_columns(source, schema)
    wanted = row_reading.Wanted(schema, row_reading.carried_names(source, asked), asked.block_rows, asked.block_bytes)
    forms, rows = row_reading.number_forms(source, schema, lambda: _tell(draft, 0.0))
    done = refused = 0
    with _whole(draft / row_blocks.FILE, most_bytes) as file:
        for block in row_reading.blocks(source, wanted, forms):
            row_blocks.write(file, block)
            refused += len(block.refused)
            before, done = done, done + block.total
            if done // row_reading.PIECE_ROWS > before // row_reading.PIECE_ROWS:
                _tell(draft, _READING + (1 - _READING) * min(1.0, done / rows))
    first = next(source.blocks(list(wanted.carried)), None) if wanted.carried else None
    carried = () if first is None else row_reading.carried_types(first.schema, wanted.carried)
    return messages.RowsRead(job_id=asked.job_id, rows=done, refused=refused, carried=carried)


def write_parquet(draft: Path, asked: messages.WriteParquet, most_bytes: int) -> messages.ParquetWritten:
    """Write the draft's CSV as Parquet. Raises errors.BadInput and StorageFull, DraftGone and OSError."""
    schema = pa.schema([(column.name, _ARROW[column.type]) for column in asked.columns])
    total = (draft / CSV).stat().st_size
    with (
        _whole(draft / PARQUET, most_bytes) as file,
        _open_csv(draft / CSV, schema) as blocks,
        pa.parquet.ParquetWriter(file, schema, compression="snappy") as writer,
    ):
        done = 0
        for block in blocks:
            writer.write_batch(block)
            done += block.nbytes
            _tell(draft, min(0.99, done / max(1, total)))
    return messages.ParquetWritten(job_id=asked.job_id, size_bytes=(draft / PARQUET).stat().st_size)


def _open_csv(path: Path, schema: pa.Schema) -> Any:
    return pa.csv.open_csv(
        path,
        read_options=pa.csv.ReadOptions(
            column_names=schema.names, skip_rows_after_names=1, block_size=_GROUP_BYTES, use_threads=False
        ),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict(zip(schema.names, schema.types, strict=True)),
            null_values=[""],
            strings_can_be_null=True,
            true_values=["true"],
            false_values=["false"],
        ),
    )


@contextmanager
def _whole(path: Path, most_bytes: int) -> Iterator[BinaryIO]:
    """A file that is there under its name only when it is complete and on the disk."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with DraftFile(draft, most_bytes) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except FileNotFoundError as error:
        raise DraftGone from error
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _tell(draft: Path, fraction: float) -> None:
    if not draft.is_dir():
        raise DraftGone
    _say(PROGRESS, msgspec.json.encode(ChildProgress(round(fraction, 4), "reading", "")))


def _fail(error: errors.WarrenError) -> None:
    _say(FAILED, messages.Failure(error=error.to_body()).encode())


def _say(kind: bytes, body: bytes) -> None:
    sys.stdout.buffer.write(kind + body + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
