"""Jobs that failed for good, as letters people can read and send again.

From the worker's maintenance to the dead-letter queue, and from there to a person:
``python -m api.jobs.dead_letters list`` and ``… replay <job id>… | --all``. A replayed job is a
new one: the volume has been told that the old one never gets a version.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import celery
import msgspec
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from api.jobs.celery_app import make_app
from api.jobs.enqueueing import Enqueuer
from api.keys import making
from api.keys.callers import OPERATOR
from api.ledger import Ledger
from api.ledger.rows import DeedKind, Job, NewJob
from api.offline.order import KIND
from wire import errors, logs, messages, settings, topology
from wire.client import RpcClient

MOST = 10_000
"""Letters one command reads at most: the bound of the queue."""
_CONNECT_S = 5.0
_AT_MOST = 100
AGAIN_S = 15.0
"""Seconds after which a letter that somebody began to send, and that is not known to be out, is sent again."""

Letter = messages.JobDead | messages.BatchDead
"""A training, or an offline prediction, that failed for good."""
_KINDS: dict[str, type[Letter]] = {"train": messages.JobDead, KIND: messages.BatchDead}
_TYPES = {letter.TYPE: (kind, letter) for kind, letter in _KINDS.items()}


class DeadLetters:
    """Publishes dead letters, confirmed; for the worker."""

    def __init__(self, ledger: Ledger, rpc: RpcClient, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is monotonic, in seconds."""
        self._ledger = ledger
        self._rpc = rpc
        self._clock = clock
        self._seen: dict[tuple[str, int], float] = {}

    def send_due(self) -> None:
        """Send what is due. Raises errors.NotAnswered when the broker or the ledger is away.

        Of several workers one sends a letter. It is doubled only where the broker kept it and did not say so
        in time, or where that could not be noted any more.
        """
        due = self._ledger.watching.dead_letters_due(_AT_MOST)
        now_s = self._clock()
        self._seen = {(job.job_id, job.beat): self._seen.get((job.job_id, job.beat), now_s) for job in due}
        if due and not self._rpc.connected:
            raise errors.BrokerUnavailable
        for job in due:
            fresh = job.holder is None or now_s - self._seen[job.job_id, job.beat] >= AGAIN_S
            if fresh and self._ledger.watching.claim_dead_letter(job):
                self._send(job)
                self._ledger.watching.dead_letter_sent(job)

    def bury(self, body: bytes, tag: str) -> None:
        """Keep a message of the jobs queue that nobody can read. Raises errors.NotAnswered."""
        self._rpc.publish(topology.DEAD, body, kind="unreadable", headers={"queue": topology.JOBS})
        logs.log("rpc.dead_lettered", level="WARNING", queue=topology.JOBS, size_bytes=len(body), tag=tag)

    def _send(self, job: Job) -> None:
        letter = _KINDS.get(job.kind, messages.JobDead)(
            job_id=job.job_id,
            owner=job.owner,
            model=job.model,
            dataset_id=job.dataset_id,
            attempts=job.attempts,
            error=errors.ErrorBody(job.error_code or "", job.error_message or ""),
            request=msgspec.json.decode(job.request),
        )
        self._rpc.publish(topology.DEAD, letter.encode(), kind=letter.TYPE, headers={"job_id": job.job_id})
        logs.log("job.dead_lettered", level="WARNING", job_id=job.job_id, attempts=job.attempts)


@contextmanager
def letters(app: celery.Celery) -> Iterator[Iterator[Any]]:
    """The queue's letters as kombu messages; those not acknowledged go back when the block ends.

    Raises errors.BrokerUnavailable.
    """
    try:
        with app.connection_for_read(connect_timeout=_CONNECT_S) as connection:
            connection.ensure_connection(max_retries=1, timeout=_CONNECT_S)
            yield _read(Queue(topology.DEAD, no_declare=True).bind(connection.default_channel))
    except OperationalError as error:
        raise errors.BrokerUnavailable from error


def _read(queue: Any) -> Iterator[Any]:
    for _ in range(MOST):
        message = queue.get(no_ack=False)
        if message is None:
            return
        yield message


def _decoded(message: Any) -> tuple[str, Letter] | None:
    """The kind of the job and its letter; None where it is another letter."""
    known = _TYPES.get(message.properties.get("type"))
    if known is None:
        return None
    body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
    try:
        return known[0], known[1].decode(body)
    except errors.MalformedBody:
        return None


def show(app: celery.Celery) -> list[str]:
    """One line per job: its id, model, attempts and error; and per other letter, with what is known of it."""
    lines: list[str] = []
    shown: set[str] = set()
    with letters(app) as found:
        for message in found:
            found_job = _decoded(message)
            if found_job is None:
                kind = message.properties.get("type") or "unknown"
                lines.append(f"-\t{kind}\t{len(message.body)} bytes\t{message.headers.get('queue', '')}")
                continue
            job = found_job[1]
            if job.job_id not in shown:  # else another copy of its letter
                shown.add(job.job_id)
                lines.append(
                    f"{job.job_id}\t{job.model}\t{job.attempts} attempts\t{job.error.code}: {job.error.message}"
                )
    return lines


def replay(app: celery.Celery, ledger: Ledger, enqueuer: Enqueuer, chosen: set[str] | None) -> dict[str, str | None]:
    """Send the jobs of the chosen letters (None: all) again; old job id to new, None where its dataset is gone.

    A letter leaves the queue once its new job is in the ledger, so an interrupted replay doubles
    none: the same letter gives the same new job. Raises errors.NotAnswered.
    """
    replayed: dict[str, str | None] = {}
    with letters(app) as found:
        for message in found:
            dead = _decoded(message)
            if dead is None or (chosen is not None and dead[1].job_id not in chosen):
                continue
            job_id = dead[1].job_id
            if job_id not in replayed:  # else another copy of its letter
                replayed[job_id] = _send_again(ledger, enqueuer, *dead)
            if replayed[job_id] is not None:
                message.ack()
    return replayed


def _send_again(ledger: Ledger, enqueuer: Enqueuer, kind: str, dead: Letter) -> str | None:
    try:
        job = ledger.jobs.accept(_again(kind, dead), queued_limit=sys.maxsize)
    except errors.DatasetNotFound:
        return None
    enqueuer.enqueue(job.job_id, job.request_id)
    action: DeedKind = "batch.accepted" if job.kind == KIND else "train.accepted"
    ledger.audit.write([making.deed(OPERATOR, action, f"{job.job_id} {job.model}")])
    return job.job_id


def _again(kind: str, dead: Letter) -> NewJob:
    return NewJob(
        job_id=uuid.uuid4().hex,
        owner=dead.owner,
        model=dead.model,
        dataset_id=dead.dataset_id,
        request=msgspec.json.encode(dead.request).decode(),
        request_id=f"replay-{dead.job_id}",
        body_digest=dead.job_id,
        idempotency_key=f"replay-{dead.job_id}",
        kind=kind,
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m api.jobs.dead_letters", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="one line per letter")
    again = commands.add_parser("replay", help="send failed jobs again, each as a new job")
    again.add_argument("job_ids", nargs="*", help="ids as `list` shows them")
    again.add_argument("--all", action="store_true", help="every letter of a job")
    chosen = parser.parse_args(arguments)
    if chosen.command == "replay" and bool(chosen.job_ids) == chosen.all:
        parser.error("name the jobs to replay, or --all")
    config = settings.load()
    logs.configure("dead_letters", "WARNING")
    app = make_app(config.broker)
    try:
        if chosen.command == "replay":
            return _report(_replay(app, config, None if chosen.all else set(chosen.job_ids)))
        sys.stdout.write("".join(f"{line}\n" for line in show(app)))
        return 0
    except errors.WarrenError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1


def _replay(app: celery.Celery, config: settings.Settings, chosen: set[str] | None) -> dict[str, str | None]:
    ledger, rpc = Ledger(config.ledger), RpcClient(config.broker, "worker", "dead-letters")
    rpc.start()
    try:
        if not rpc.wait_connected(_CONNECT_S):
            raise errors.BrokerUnavailable
        return replay(app, ledger, Enqueuer(app, rpc, ledger), chosen)
    finally:
        rpc.close()
        ledger.close()


def _report(replayed: dict[str, str | None]) -> int:
    sys.stdout.write("".join(f"{old}\t{new}\n" for old, new in replayed.items() if new is not None))
    kept = [old for old, new in replayed.items() if new is None]
    sys.stderr.write("".join(f"{old}: its dataset is gone; the letter is kept.\n" for old in kept))
    return 1 if kept else 0


if __name__ == "__main__":
    sys.exit(main())
