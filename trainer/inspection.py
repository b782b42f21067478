"""Inspections: from a dataset's id on topology.INSPECT to its profile, made in a child process.

Runs beside trainings and is never blocked by one. The child's memory has a bound, so a table
made to be huge ends the child and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trainer import dataset_files
from trainer.child_process import ChildProcess
from wire import errors, logs, messages, settings
from wire.deadlines import Deadline
from wire.server import Request

PROFILE_COMMAND = (sys.executable, "-m", "trainer.profile")
"""What profiles; the dataset's folder is added."""

LONGEST_S = 600.0
"""Seconds an inspection may take whose requester sets no deadline: a gigabyte takes a minute or two."""

_POLL_S = 0.1


class Inspections:
    """Handles topology.INSPECT; may run in several threads."""

    def __init__(self, config: settings.Settings, command: Sequence[str] = PROFILE_COMMAND) -> None:
        self._config = config
        self._command = tuple(command)
        self._closing: Deadline | None = None

    def close(self, deadline: Deadline) -> None:
        """End what still runs at ``deadline``; for the process's own stop."""
        self._closing = deadline

    def handle(self, request: Request) -> messages.DatasetProfile:
        """Profile one dataset. Raises DatasetNotFound, BadInput, TooLarge, InternalError."""
        asked = messages.InspectRequest.decode(request.body)
        dataset_files.locate(self._config.paths.datasets, messages.DatasetRef(id=asked.dataset_id))
        folder = dataset_files.dataset_folder(self._config.paths.datasets, asked.dataset_id)
        deadline = request.deadline or Deadline.after(LONGEST_S)
        with ChildProcess((*self._command, str(folder)), memory_bytes=self._config.train.inspect_memory_bytes) as child:
            line = self._answer_of(child, deadline)
            profile = _read(line, child)
        logs.log("dataset.profiled", dataset_id=asked.dataset_id, rows=profile.rows)
        return profile

    def _answer_of(self, child: ChildProcess, deadline: Deadline) -> bytes | None:
        while not child.ended:
            if deadline.expired or (self._closing is not None and self._closing.expired):
                raise errors.InternalError("The inspection was not done in time.")
            line = child.newest_line(_POLL_S)
            if line is not None:
                return line
        child.end()
        return child.newest_line(0)


def _read(line: bytes | None, child: ChildProcess) -> messages.DatasetProfile:
    if line is None:
        logs.log("rpc.failed", level="ERROR", exit_code=child.exit_code, stderr=child.error_tail)
        if "MemoryError" in child.error_tail:
            raise errors.BadInput("The table needs more memory to inspect than allowed.", hint="Use fewer columns.")
        raise errors.InternalError("The inspection ended before it was done.")
    try:
        return messages.DatasetProfile.decode(line)
    except errors.MalformedBody:
        raise errors.from_body(_failure(line).error) from None


def _failure(line: bytes) -> messages.Failure:
    try:
        return messages.Failure.decode(line)
    except errors.MalformedBody as error:
        # A defect of ours, not of the request: it must not be dead-lettered.
        raise errors.InternalError from error
