"""One attempt of one offline prediction: have the rows read, answered, and the output published.

Between a leased job and the trainers and predictors. Everything happens in a draft of this attempt's
own; the output appears at the end, by one rename. An attempt that ends otherwise leaves nothing.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import BinaryIO, Final

from api.jobs.following import Done, Failed, Interrupted, Outcome
from api.jobs.leases import Held
from api.jobs.progress import ProgressFilter
from api.ledger.leases import Ended, Leases
from api.offline import order as orders
from api.offline.asking import Answer, TableFollower
from api.offline.folder import CSV, PARQUET, OutputFolder, Summary, is_full
from api.offline.lines import Lines
from api.offline.window import Stop, Window
from wire import errors, logs, messages, row_blocks, settings, telemetry, topology
from wire.client import RpcClient
from wire.draft_file import DraftFile

READING, PREDICTING, WRITING = (0.0, 0.3), (0.3, 0.95), (0.95, 1.0)
"""The parts of the whole that the stages stand for."""

_INPUT: Final = (
    errors.BadInput,
    errors.TooLarge,
    errors.ModelNotFound,
    errors.VersionNotFound,
    errors.InferenceCrashed,
    errors.StorageFull,
)
"""Errors that end a job at once; DatasetNotFound is none of them, for ``following``'s reason."""

rows_written = telemetry.counter("bulk_rows_written", "Rows written to outputs of offline predictions")
"""Rows without an answer included."""


class Attempts:
    """Makes attempts; shared by all threads of a worker."""

    def __init__(
        self,
        config: settings.Settings,
        rpc: RpcClient,
        leases: Leases,
        folder: OutputFolder,
        stopping: threading.Event,
    ) -> None:
        self.config = config
        self.rpc = rpc
        self.leases = leases
        self.folder = folder
        self.stopping = stopping

    def run(self, held: Held) -> Outcome:
        """Follow one attempt to its end; whatever the end, its draft is gone."""
        job = held.job
        try:
            known = self.folder.find(job.job_id)
            return Done(succeeded(known)) if known is not None else _Attempt(self, held).run()
        except Stop:
            return _interrupted(held)
        except _INPUT as error:
            return Failed(error.to_body(), final=True)
        except errors.WarrenError as error:
            return Failed(error.to_body(), final=False)
        except OSError as error:
            if is_full(error):
                return Failed(errors.StorageFull("The volume for outputs has no room left.").to_body(), final=True)
            logs.log("maintenance.failed", level="ERROR", what="output", job_id=job.job_id, exc_info=True)
            return Failed(errors.InternalError("The output cannot be written.").to_body(), final=False)
        finally:
            self.folder.drop(job.job_id, job.epoch)

    def settle(self, held: Held, *, cancelled: bool) -> Ended:
        """How a job ends that is not followed to its own end: the folder knows whether it has an output."""
        job = held.job
        known = self.folder.find(job.job_id)
        if known is not None:
            return succeeded(known)
        self.folder.clear(job.job_id, job.epoch)
        self._stop(job.job_id)
        if cancelled:
            return Ended("cancelled")
        error = errors.ErrorBody(job.error_code or "internal_error", job.error_message or "The attempts were used up.")
        return Ended("failed", error=error, dead=True)

    def _stop(self, job_id: str) -> None:
        """Free the trainer that may still read or write for this job."""
        try:
            self.rpc.broadcast(topology.STOP, messages.StopTraining(job_id=job_id))
        except errors.BrokerUnavailable:
            return


class _Attempt:
    """One attempt, in the thread that calls."""

    def __init__(self, shared: Attempts, held: Held) -> None:
        self._shared = shared
        self._held = held
        self._order = orders.decode(held.job.request)
        self._filter = ProgressFilter(time.monotonic)

    def run(self) -> Outcome:
        job, folder = self._held.job, self._shared.folder
        draft = folder.draft(job.job_id, job.epoch)
        read = self._ask(self._read_request(draft), messages.RowsRead, READING)
        if not isinstance(read, Answer):
            return read
        rows = messages.RowsRead.decode(read.body)
        columns = self._order.columns(rows.carried)
        refused = self._predict(draft, rows, columns)
        asked = messages.WriteParquet(job_id=job.job_id, draft=draft.name, columns=columns)
        written = self._ask(asked, messages.ParquetWritten, WRITING)
        if not isinstance(written, Answer):
            return written
        return Done(succeeded(self._publish(draft, rows.rows, refused, columns)))

    def _read_request(self, draft: Path) -> messages.ReadRows:
        order, bulk = self._order, self._shared.config.bulk
        return messages.ReadRows(
            job_id=self._held.job.job_id,
            draft=draft.name,
            dataset_id=order.dataset_id,
            features=order.features,
            carried=order.carried,
            carry_all=order.carry_all,
            block_rows=bulk.block_rows,
            block_bytes=bulk.block_bytes,
        )

    def _ask(
        self, asked: messages.Message, expect: type[messages.Message], span: tuple[float, float]
    ) -> Outcome | Answer:
        shared = self._shared
        follower = TableFollower(
            shared.rpc,
            shared.leases,
            shared.config.train,
            self._held,
            shared.stopping,
            asked=asked,
            expect=expect,
            span=span,
            progress=self._filter,
        )
        outcome = follower.ask()
        if isinstance(outcome, Interrupted) and outcome.cancel and not self._held.cancel:
            # Nobody asked for it: that trainer does not see the draft, or another attempt took it away.
            return Failed(errors.InternalError("The trainer did not find the draft.").to_body(), final=False)
        if isinstance(outcome, Failed):
            return Failed(outcome.error, final=isinstance(errors.from_body(outcome.error), _INPUT))
        return outcome

    def _predict(self, draft: Path, rows: messages.RowsRead, columns: tuple[messages.OutputColumn, ...]) -> int:
        """Write the output; how many rows have no answer. Raises errors.BadInput, also where none has one."""
        order, shared = self._order, self._shared
        window = Window(
            shared.rpc,
            order,
            self._held.job.request_id,
            shared.config.bulk.window,
            3 * shared.config.train.silence_s,
            self._check,
        )
        lines = Lines(columns, order.classes, shares=len(order.classes or ()) if order.probabilities else 0)
        most_bytes = shared.config.bulk.draft_bytes
        done = refused = 0
        problem = ""
        with (draft / row_blocks.FILE).open("rb") as source, DraftFile(draft / CSV, most_bytes) as output:
            output.write(lines.header())
            for block, answers in window.answers(row_blocks.read(source)):
                text, without = lines.of(block, answers)
                output.write(text)
                done, refused = done + block.total, refused + without
                rows_written.inc(block.total)
                problem = problem or _problem(block, answers.problems)
                self._tell(done, rows.rows)
            _finish(output)
        (draft / row_blocks.FILE).unlink()
        if done != rows.rows:
            raise errors.InternalError("the draft's rows are not complete")
        if refused == done:
            raise errors.BadInput(f"No row of the dataset can be predicted; of the first one: {problem}.")
        return refused

    def _publish(self, draft: Path, rows: int, refused: int, columns: tuple[messages.OutputColumn, ...]) -> Summary:
        self._check()
        order, job_id = self._order, self._held.job.job_id
        summary = Summary(
            model=order.model,
            version=order.version,
            rows=rows,
            refused=refused,
            columns=tuple(column.name for column in columns),
            csv_bytes=(draft / CSV).stat().st_size,
            parquet_bytes=(draft / PARQUET).stat().st_size,
        )
        self._shared.folder.publish(draft, job_id, summary)
        logs.log("output.published", job_id=job_id, rows=rows, refused=refused, size_bytes=summary.csv_bytes)
        return summary

    def _check(self) -> None:
        if self._held.lost or self._held.cancel or self._shared.stopping.is_set():
            raise Stop

    def _tell(self, done: int, rows: int) -> None:
        start, stop = PREDICTING
        said = messages.TrainProgress(
            job_id=self._held.job.job_id,
            fraction=start + (stop - start) * done / max(1, rows),
            stage="predicting",
            message=f"{done} of {rows} rows",
        )
        now = self._filter.admit(said)
        if now is None:
            return
        job = self._held.job
        try:
            kept = self._shared.leases.progress(
                job.job_id, job.epoch, fraction=now.fraction, stage=now.stage, message=now.message
            )
        except errors.LedgerUnavailable:
            self._filter.forget()
            return
        if not kept:
            self._held.lose()


def succeeded(summary: Summary) -> Ended:
    """The end of a job whose output is published."""
    return Ended(
        "succeeded",
        result={
            "model": summary.model,
            "version": summary.version,
            "rows": summary.rows,
            "refused": summary.refused,
            "columns": list(summary.columns),
            "csv_bytes": summary.csv_bytes,
            "parquet_bytes": summary.parquet_bytes,
        },
    )


def _interrupted(held: Held) -> Interrupted:
    if held.lost:
        return Interrupted(lost=True)
    return Interrupted(cancel=held.cancel)


def _problem(block: row_blocks.Block, problems: dict[int, str]) -> str:
    told = [each.problem for each in block.refused[:1]]
    return next(iter(told or problems.values()), "")


def _finish(output: BinaryIO) -> None:
    output.flush()
    os.fsync(output.fileno())
