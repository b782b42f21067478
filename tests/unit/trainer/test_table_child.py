"""The child that reads and writes tables, run as the trainer runs it, and the trainer's side of it."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet
import pytest

from tables.columns import Column
from tables.schema import Schema
from tests.rabbit import wait_until
from trainer import dataset_files, table_child, table_order
from trainer.table_work import TableWork
from wire import errors, messages, row_blocks, settings
from wire.deadlines import Deadline

DATASET = "d" * 32
JOB = "a" * 32
SCHEMA = Schema((Column("a", "number"),)).to_builtins()


class Place:
    """A datasets folder with one dataset, and a draft."""

    def __init__(self, home: Path) -> None:
        self.datasets = home / "datasets"
        self.predictions = home / "predictions"
        self.draft = self.predictions / ".tmp" / f"{JOB}-1"
        for folder in (self.datasets / DATASET, self.draft):
            folder.mkdir(parents=True)

    def dataset(self, text: str) -> None:
        (self.datasets / DATASET / "data.csv").write_text(text)

    def small_parquet(self) -> None:
        """A few kilobytes that unfold to 41 MB of text."""
        text = pa.array(["x" * 4096] * 10_000).dictionary_encode()
        pa.parquet.write_table(pa.table({"a": [1.0] * 10_000, "t": text}), self.datasets / DATASET / "data.parquet")

    def order(self, message: messages.Message) -> None:
        order = table_order.Order(message.TYPE, msgspec.Raw(message.encode()))
        (self.draft / table_order.FILE).write_bytes(msgspec.json.encode(order))

    def run(self, most_bytes: int | None = 10**9, **more: Any) -> bytes:
        """The child's last line."""
        bound = [] if most_bytes is None else [str(most_bytes)]
        command = [sys.executable, "-m", "trainer.table_child", str(self.draft), str(self.datasets), *bound]
        done = subprocess.run(command, capture_output=True, timeout=200, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    def files(self) -> set[str]:
        return {path.name for path in self.draft.iterdir()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def reading(**given: Any) -> messages.ReadRows:
    asked = {"job_id": JOB, "draft": f"{JOB}-1", "dataset_id": DATASET, "features": SCHEMA}
    return messages.ReadRows(**{**asked, "block_rows": 100, "block_bytes": 10_000, **given})


def writing(*columns: messages.OutputColumn) -> messages.WriteParquet:
    return messages.WriteParquet(job_id=JOB, draft=f"{JOB}-1", columns=columns)


def failure(line: bytes) -> str:
    assert line.startswith(table_order.FAILED), line
    return messages.Failure.decode(line[len(table_order.FAILED) :]).error.code


class TestChild:
    def test_no_signal_is_left_to_kill_it_while_the_interpreter_ends(self, place: Place) -> None:
        place.dataset("a\n1\n")
        place.order(reading())
        program = "import signal, sys; from trainer import table_child; table_child.main(sys.argv[1:]); "
        program += "print(signal.getitimer(signal.ITIMER_PROF))"
        command = [sys.executable, "-c", program, str(place.draft), str(place.datasets), "1000"]
        done = subprocess.run(command, capture_output=True, timeout=200)
        assert done.stdout.splitlines()[-1] == b"(0.0, 0.0)"

    def test_reads_a_dataset_into_blocks(self, place: Place) -> None:
        place.dataset("a,b\n" + "1,x\nold,y\n" * 20_000)
        place.order(reading(carried=("b",)))
        line = place.run()
        read = messages.RowsRead.decode(line[len(table_order.DONE) :])
        assert (read.rows, read.refused) == (40_000, 20_000)
        assert read.carried == (messages.OutputColumn("b", "text"),)
        assert place.files() == {table_order.FILE, row_blocks.FILE}
        with (place.draft / row_blocks.FILE).open("rb") as file:
            assert sum(block.total for block in row_blocks.read(file)) == 40_000

    def test_needs_no_bound_from_a_trainer_of_the_release_before(self, place: Place) -> None:
        place.dataset("a\n1\n")
        place.order(reading())
        assert place.run(most_bytes=None).startswith(table_order.DONE)

    def test_writes_a_finished_output_as_parquet(self, place: Place) -> None:
        (place.draft / table_child.CSV).write_text('n,i,t,b,error\n1.5,7,"x, y",true,\n,,,,"no ""way"""\n')
        columns = zip(("n", "i", "t", "b", "error"), ("number", "integer", "text", "boolean", "text"), strict=True)
        place.order(writing(*(messages.OutputColumn(name, kind) for name, kind in columns)))  # type: ignore[arg-type]
        line = place.run()
        written = messages.ParquetWritten.decode(line[len(table_order.DONE) :])
        path = place.draft / table_child.PARQUET
        assert written.size_bytes == path.stat().st_size
        assert pa.parquet.read_table(path).to_pylist() == [
            {"n": 1.5, "i": 7, "t": "x, y", "b": True, "error": None},
            {"n": None, "i": None, "t": None, "b": None, "error": 'no "way"'},
        ]

    def test_what_is_wrong_with_the_dataset_is_told(self, place: Place) -> None:
        place.dataset("b\n1\n")
        place.order(reading())
        assert failure(place.run()) == "bad_input"
        place.order(reading(dataset_id="e" * 32))
        assert failure(place.run()) == "dataset_not_found"
        place.order(reading(features={"columns": []}))
        assert failure(place.run()) == "internal_error"

    def test_a_full_volume_is_told_and_leaves_no_file(self, place: Place) -> None:
        place.dataset("a\n" + "1\n" * 200_000)
        place.order(reading())
        limit = (100_000, 100_000)
        assert failure(place.run(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))) == "storage_full"
        assert place.files() == {table_order.FILE}

    def test_a_small_file_that_unfolds_beyond_the_drafts_bound_is_told_and_never_written(self, place: Place) -> None:
        place.small_parquet()
        place.order(reading(carry_all=True))
        size = (place.datasets / DATASET / "data.parquet").stat().st_size
        bound = 100 * size
        # The system ends the child's file there as well, and would call it a full volume.
        line = place.run(bound, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bound, bound)))
        assert failure(line) == "bad_input"
        assert size < 20_000
        assert place.files() == {table_order.FILE}

    def test_a_parquet_file_for_which_the_draft_has_no_room_is_told(self, place: Place) -> None:
        text = "n\n" + "".join(f"{number}.25\n" for number in range(20_000))
        (place.draft / table_child.CSV).write_text(text)
        place.order(writing(messages.OutputColumn("n", "number")))
        assert failure(place.run(len(text) + 10_000)) == "bad_input"
        assert place.files() == {table_order.FILE, table_child.CSV}

    def test_a_defect_is_told_as_one(self, place: Place) -> None:
        place.order(writing(messages.OutputColumn("n", "number")))
        (place.draft / table_child.CSV).write_text("n\nnot a number\n")
        assert failure(place.run()) == "internal_error"

    def test_a_draft_that_is_taken_away_ends_the_work(self, place: Place) -> None:
        with pytest.raises(table_child.DraftGone):
            table_child.read_rows(place.draft / "gone", place.datasets, self._small(place), 1000)

    def _small(self, place: Place) -> messages.ReadRows:
        place.dataset("a\n1\n")
        return reading()


class Asked:
    """A request with its replies kept."""

    def __init__(self, message: messages.Message) -> None:
        self.kind, self.body = message.TYPE, message.encode()
        self.replies: list[messages.Message] = []

    def reply(self, message: messages.Message) -> None:
        self.replies.append(message)


PROGRESS = b"progress " + msgspec.json.encode({"fraction": 0.5, "stage": "", "message": ""})
SLEEPER = (sys.executable, "-c", f"import time; print({PROGRESS.decode()!r}, flush=True); time.sleep(60)")


@pytest.fixture
def work(place: Place) -> Callable[..., TableWork]:
    paths = settings.Paths(datasets=place.datasets, predictions=place.predictions)
    config = settings.Settings(paths=paths, train=settings.Train(alive_s=0.2))
    return lambda *command: TableWork(config, *command)


class TestWork:
    def test_reads_and_writes_for_a_worker(self, place: Place, work: Callable[..., TableWork]) -> None:
        place.dataset("a\n1\n2\n")
        asked: Any = Asked(reading())
        read = work().handle(asked)
        assert isinstance(read, messages.RowsRead)
        assert read.rows == 2
        assert asked.replies[0].stage == "reading"
        (place.draft / table_child.CSV).write_text("error\n\nx\n")
        written = work().handle(Asked(writing(messages.OutputColumn("error", "text"))))  # type: ignore[arg-type]
        assert isinstance(written, messages.ParquetWritten)

    def test_hands_on_what_the_child_refuses(self, place: Place, work: Callable[..., TableWork]) -> None:
        place.dataset("b\n1\n")
        with pytest.raises(errors.BadInput):
            work().handle(Asked(reading()))  # type: ignore[arg-type]
        place.dataset("a\n1\n")
        with pytest.raises(errors.InternalError):
            work().handle(Asked(reading(features=None)))  # type: ignore[arg-type]

    def test_gives_the_child_the_bound_of_its_settings(self, place: Place) -> None:
        place.small_parquet()
        paths = settings.Paths(datasets=place.datasets, predictions=place.predictions)
        made = TableWork(settings.Settings(paths=paths, bulk=settings.Bulk(draft_bytes=1_000_000)))
        with pytest.raises(errors.BadInput, match="1000000 bytes"):
            made.handle(Asked(reading(carry_all=True)))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "code", ["print('progress nonsense')", "print('done of something')", "raise SystemExit(3)"]
    )
    def test_a_child_that_ends_without_an_answer_is_a_defect(
        self, place: Place, work: Callable[..., TableWork], code: str
    ) -> None:
        place.dataset("a\n1\n")
        with pytest.raises((errors.InternalError, errors.MalformedBody)):
            work((sys.executable, "-c", code)).handle(Asked(reading()))  # type: ignore[arg-type]

    def test_a_draft_that_is_gone_is_a_cancel(
        self, place: Place, work: Callable[..., TableWork], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dataset_files, "LATE_S", 0.2)
        place.dataset("a\n1\n")
        with pytest.raises(errors.Cancelled):
            work().handle(Asked(reading(draft=f"{JOB}-2")))  # type: ignore[arg-type]

    def test_a_draft_that_shows_up_late_is_waited_for(self, place: Place, work: Callable[..., TableWork]) -> None:
        place.dataset("a\n1\n")
        away = place.draft.rename(place.draft.with_name("away"))
        timer = threading.Timer(0.3, away.rename, [place.draft])
        timer.start()
        try:
            assert isinstance(work().handle(Asked(reading())), messages.RowsRead)  # type: ignore[arg-type]
        finally:
            timer.join()

    def test_a_draft_that_cannot_be_written_to_is_not_a_full_volume(
        self, place: Place, work: Callable[..., TableWork]
    ) -> None:
        place.dataset("a\n1\n")
        (place.draft / table_order.FILE).mkdir()
        with pytest.raises(errors.InternalError):
            work().handle(Asked(reading()))  # type: ignore[arg-type]

    def test_names_that_are_no_draft_and_other_kinds_are_malformed(
        self, place: Place, work: Callable[..., TableWork]
    ) -> None:
        place.dataset("a\n1\n")
        for message in (reading(draft="../x"), messages.ListModels()):
            with pytest.raises(errors.MalformedBody):
                work().handle(Asked(message))  # type: ignore[arg-type]

    @pytest.mark.parametrize("how", ["stop", "close"])
    def test_a_stop_ends_the_child(self, place: Place, work: Callable[..., TableWork], how: str) -> None:
        place.dataset("a\n1\n")
        made, asked = work(SLEEPER), Asked(reading())
        ended: list[BaseException] = []

        def handle() -> None:
            try:
                made.handle(asked)  # type: ignore[arg-type]
            except errors.WarrenError as error:
                ended.append(error)

        thread = threading.Thread(target=handle)
        thread.start()
        wait_until(lambda: any(getattr(said, "fraction", 0) == 0.5 for said in asked.replies), "progress is told")
        made.stop("b" * 32)
        made.stop(JOB) if how == "stop" else made.close(Deadline.after(0))
        thread.join(10)
        assert type(ended[0]) is (errors.Cancelled if how == "stop" else errors.Stopping)
