"""Tables of offline predictions: from a worker's request on topology.TABLES to a file in its draft.

Reads a dataset as rows that predictors answer, and writes a finished output as Parquet, each in a child
process with a bound on its memory. Beside trainings and inspections, and never blocked by one. The
request is acknowledged when the work is done: what a killed trainer had, another one begins anew.
"""

from __future__ import annotations

import random
import re
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from model_store.errors import FULL
from trainer import dataset_files, table_order
from trainer.child_process import ChildProcess
from trainer.spec import ChildProgress
from trainer.table_order import DONE, FAILED, PROGRESS, Order
from wire import errors, logs, messages, settings
from wire.deadlines import Deadline
from wire.server import Request

TABLE_COMMAND = (sys.executable, "-m", "trainer.table_child")
"""What does the work; the draft's and the datasets' folders and the draft's bound are added."""

DRAFTS = ".tmp"
"""Where drafts are, below the folder of predictions."""

_DRAFT = re.compile(r"[0-9a-f]{32}-[0-9]{1,12}")
_POLL_S = 0.1
_STAGES = {messages.ReadRows.TYPE: "reading", messages.WriteParquet.TYPE: "converting"}


class TableWork:
    """Handles topology.TABLES."""

    def __init__(self, config: settings.Settings, command: Sequence[str] = TABLE_COMMAND) -> None:
        self._config = config
        self._command = tuple(command)
        self._closing: Deadline | None = None
        self._lock = threading.Lock()
        self._stopped: set[str] = set()
        self._running: set[str] = set()

    def close(self, deadline: Deadline) -> None:
        """End what still runs at ``deadline``; for the process's own stop."""
        self._closing = deadline

    def stop(self, job_id: str) -> None:
        """End what runs for this job, if anything does."""
        with self._lock:
            if job_id in self._running:
                self._stopped.add(job_id)

    def handle(self, request: Request) -> messages.Message:
        """Read or write a table. Raises BadInput, DatasetNotFound, StorageFull, Cancelled, Stopping, InternalError."""
        asked: messages.ReadRows | messages.WriteParquet
        if request.kind == messages.ReadRows.TYPE:
            asked = messages.ReadRows.decode(request.body)
            dataset_files.locate(self._config.paths.datasets, messages.DatasetRef(id=asked.dataset_id))
        elif request.kind == messages.WriteParquet.TYPE:
            asked = messages.WriteParquet.decode(request.body)
        else:
            raise errors.MalformedBody("not a request about a table")
        draft = self._draft(asked)
        with self._lock:
            self._running.add(asked.job_id)
        try:
            return self._work(asked, draft, request)
        finally:
            with self._lock:
                self._running.discard(asked.job_id)
                self._stopped.discard(asked.job_id)

    def _draft(self, asked: messages.ReadRows | messages.WriteParquet) -> Path:
        """The draft, with the order in it. Raises errors.Cancelled where it is gone, StorageFull, InternalError."""
        if not _DRAFT.fullmatch(asked.draft):
            raise errors.MalformedBody("not the name of a draft")
        draft = self._config.paths.predictions.absolute() / DRAFTS / asked.draft
        _await(draft)
        try:
            (draft / table_order.FILE).write_bytes(msgspec.json.encode(Order(asked.TYPE, msgspec.Raw(asked.encode()))))
        except FileNotFoundError as error:
            raise errors.Cancelled("The draft is gone.") from error
        except OSError as error:
            if error.errno in FULL:
                raise errors.StorageFull from error
            raise errors.InternalError("The trainer cannot write to the draft.") from error
        return draft

    def _work(
        self, asked: messages.ReadRows | messages.WriteParquet, draft: Path, request: Request
    ) -> messages.Message:
        datasets, most_bytes = self._config.paths.datasets.absolute(), self._config.bulk.draft_bytes
        command = (*self._command, str(draft), str(datasets), str(most_bytes))
        stage = _STAGES[asked.TYPE]
        request.reply(messages.TrainProgress(job_id=asked.job_id, fraction=0.0, stage=stage))
        with ChildProcess(command, memory_bytes=self._config.train.inspect_memory_bytes) as child:
            fraction, said = 0.0, Deadline.after(self._config.train.alive_s / 2)
            line = None
            while not child.ended:
                self._check(asked.job_id)
                line = child.newest_line(_POLL_S)
                if line is not None and not line.startswith(PROGRESS):
                    break
                fraction = _fraction(line, fraction)
                if said.expired:
                    said = Deadline.after(self._config.train.alive_s / 2)
                    request.reply(messages.TrainProgress(job_id=asked.job_id, fraction=fraction, stage=stage))
            child.end()
            return _read(asked, child.newest_line(0) or line, child)

    def _check(self, job_id: str) -> None:
        if self._closing is not None and self._closing.expired:
            raise errors.Stopping
        if job_id in self._stopped:
            raise errors.Cancelled


def _await(draft: Path) -> None:
    """Give a draft that a worker has just made the time that a dataset has to show up here."""
    late = Deadline.after(dataset_files.LATE_S)
    while not draft.is_dir() and not late.expired:
        time.sleep(_POLL_S * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def _fraction(line: bytes | None, before: float) -> float:
    if line is None:
        return before
    try:
        return msgspec.json.decode(line[len(PROGRESS) :], type=ChildProgress).fraction
    except msgspec.DecodeError:
        return before


def _read(
    asked: messages.ReadRows | messages.WriteParquet, line: bytes | None, child: ChildProcess
) -> messages.Message:
    """How the child ended. Raises what it failed with."""
    if line is not None and line.startswith(FAILED):
        error = errors.from_body(messages.Failure.decode(line[len(FAILED) :]).error)
        if isinstance(error, errors.InternalError):
            logs.log("rpc.failed", level="ERROR", job_id=asked.job_id, stderr=child.error_tail)
        raise error
    if line is None or not line.startswith(DONE):
        logs.log("rpc.failed", level="ERROR", job_id=asked.job_id, exit_code=child.exit_code, stderr=child.error_tail)
        raise errors.InternalError("Reading the table ended before it was done.")
    body = line[len(DONE) :]
    if isinstance(asked, messages.ReadRows):
        return messages.RowsRead.decode(body)
    return messages.ParquetWritten.decode(body)
