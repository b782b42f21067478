"""What is kept, and how long; and descriptions that were not ready when an upload was answered.

Between the worker's maintenance and the ledger, the folders of datasets and outputs, and the trainers' inspection
queue. The disk is a buffer too, so everything on it has an end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from api.datasets.files import DatasetFolder
from api.datasets.formats import UNREADABLE
from api.ledger import Ledger
from api.ledger.database import now_ms
from api.offline.folder import OutputFolder
from wire import errors, logs, messages, topology
from wire.client import RpcClient
from wire.deadlines import Deadline
from wire.retention import Retention

_DAY_MS = 86_400_000
_BATCH = 500
_LOOK_AT_MOST = 100
_TRIES = 3
_DOUBTFUL = (errors.DeadlineExceeded, errors.InternalError)
"""Too much for any trainer, or a trainer that was stopped: only further tries tell."""
INSPECT_S = 300.0
"""Seconds an inspection in the background may take; a gigabyte of CSV needs a minute or two."""


class Sweeper:
    """Forgets old jobs, their events and outputs, unused datasets, ended keys and old entries of the audit log."""

    def __init__(self, ledger: Ledger, folder: DatasetFolder, outputs: OutputFolder, retention: Retention) -> None:
        self._ledger = ledger
        self._folder = folder
        self._outputs = outputs
        self._retention = retention

    def sweep(self) -> None:
        """One sweep, in which no part's failure keeps the next ones waiting. Raises errors.LedgerUnavailable."""
        jobs = _part("jobs", self._forget_jobs)
        datasets = _part("datasets", self._forget_datasets)
        _part("trash", self._empty_trash)
        outputs = _part("outputs", self._forget_outputs)
        deeds = _part("audit", self._forget_deeds)
        if jobs or datasets or outputs or deeds:
            logs.log("retention.swept", jobs=jobs, datasets=datasets, outputs=outputs, audit=deeds)

    def _forget_jobs(self) -> int:
        before_ms = now_ms() - int(self._retention.jobs_days * _DAY_MS)
        jobs = 0
        while forgotten := self._ledger.forget_jobs(before_ms=before_ms, limit=_BATCH):
            jobs += forgotten
        return jobs

    def _forget_datasets(self) -> int:
        """Unused datasets, and folders without a row, as a crash or a row's deletion leaves them; how many rows."""
        unused_since_ms = now_ms() - int(self._retention.datasets_days * _DAY_MS)
        datasets = self._ledger.datasets.delete_unused(unused_since_ms, _BATCH)
        for dataset_id in self._ledger.datasets.unknown(self._folder.ids()):
            self._ledger.datasets.discard(dataset_id, partial(self._folder.remove, dataset_id))
        return len(datasets)

    def _empty_trash(self) -> int:
        self._folder.empty_trash()
        return 0

    def _forget_outputs(self) -> int:
        """Outputs that are old or belong to no job that succeeded, and drafts of jobs that have ended; how many."""
        since_ms = now_ms() - int(self._retention.outputs_days * _DAY_MS)
        # What is there is looked up first: a job that appears in the folder later is in the ledger by then.
        found = self._outputs.job_ids()
        forgotten = found - self._ledger.jobs.keeping(sorted(found), since_ms)
        for job_id in forgotten:
            self._outputs.remove(job_id)
        return len(forgotten)

    def _forget_deeds(self) -> int:
        """Old entries of the audit log, and keys that ended before them; how many entries."""
        before_ms = now_ms() - int(self._retention.audit_days * _DAY_MS)
        while self._ledger.keys.forget(before_ms=before_ms, limit=_BATCH):
            pass
        deeds = 0
        while forgotten := self._ledger.audit.forget(before_ms=before_ms, limit=_BATCH):
            deeds += forgotten
        return deeds


def _part(what: str, forget: Callable[[], int]) -> int:
    """How many it forgot; none where it failed. Raises errors.LedgerUnavailable, which every part would."""
    try:
        return forget()
    except errors.LedgerUnavailable:
        raise
    except Exception:
        logs.log("maintenance.failed", level="ERROR", what=f"retention of {what}", exc_info=True)
        return 0


class Describer:
    """Has datasets inspected whose description is still missing; for one thread."""

    def __init__(self, ledger: Ledger, rpc: RpcClient) -> None:
        self._ledger = ledger
        self._rpc = rpc
        self._tries: Counter[str] = Counter()

    def describe_next(self) -> bool:
        """Inspect the one that was tried least; False when it is time to pause. Raises errors.NotAnswered.

        A table that cannot be read, or not within some tries, is marked with the reason and not asked again.
        """
        missing = [row.dataset_id for row in self._ledger.datasets.unprofiled(_LOOK_AT_MOST)]
        if not missing:
            self._tries.clear()
            return False
        if self._rpc.queue_state(topology.INSPECT).consumers == 0:
            raise errors.Unroutable
        return self._describe(min(missing, key=lambda dataset_id: self._tries[dataset_id]))

    def _describe(self, dataset_id: str) -> bool:
        self._tries[dataset_id] += 1
        question = messages.InspectRequest(dataset_id=dataset_id)
        deadline = Deadline.after(INSPECT_S)
        try:
            profile = self._rpc.call(topology.INSPECT, question, messages.DatasetProfile, deadline=deadline)
        except UNREADABLE as error:
            self._condemn(dataset_id, error)
        except (errors.Answered, errors.DeadlineExceeded) as error:
            if not isinstance(error, _DOUBTFUL) or self._tries[dataset_id] < _TRIES:
                logs.log("dataset.profiled", level="WARNING", dataset_id=dataset_id, error=error.code)
                return False
            self._condemn(dataset_id, error)
        else:
            self._ledger.datasets.describe(dataset_id, profile)
            logs.log("dataset.profiled", dataset_id=dataset_id, rows=profile.rows)
        return True

    def _condemn(self, dataset_id: str, error: errors.WarrenError) -> None:
        self._ledger.datasets.condemn(dataset_id, error.to_body())
        logs.log("dataset.profiled", level="WARNING", dataset_id=dataset_id, error=error.code)
