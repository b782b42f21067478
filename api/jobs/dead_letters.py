"""Jobs that failed for good, as letters people can read and send again.

From the worker's maintenance to the dead-letter queue, and from there to a person:
``python -m api.jobs.dead_letters list`` and ``… replay <job id>… | --all``. A replayed job is a
new one: the volume has been told that the old one never gets a version. Other
services may write to the queue too, so a letter only names a job: shown and sent again is what the ledger has.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import celery
import msgspec
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from api import training
from api.jobs.celery_app import make_app
from api.jobs.enqueueing import Enqueuer
from api.keys import making
from api.keys.callers import OPERATOR
from api.ledger import Ledger
from api.ledger.rows import Job, NewJob
from api.offline.order import KIND
from wire import errors, logs, messages, settings, topology
from wire.client import RpcClient

MOST = 10_000
"""Letters one command reads at most: the bound of the queue."""
_CONNECT_S = 5.0
_AT_MOST = 100
AGAIN_S = 15.0
"""Seconds after which a letter that somebody began to send, and that is not known to be out, is sent again."""

_SHOWN = 100
_ID = re.compile(r"[0-9a-f]{32}")
_UNKNOWN = (
    "the ledger has no job of this id that failed for good, so nothing is sent; the letter is kept. "
    "Unless the job is so old that it was forgotten, the letter is not ours: see docs/security.md."
)

Letter = messages.JobDead | messages.BatchDead
"""A training, or an offline prediction, that failed for good."""
_KINDS: dict[str, type[Letter]] = {"train": messages.JobDead, KIND: messages.BatchDead}
_LETTERS = {letter.TYPE: letter for letter in _KINDS.values()}


class Replayed(NamedTuple):
    """What a replay did, by the id of the failed job: the id of the new one, or why there is none."""

    sent: dict[str, str]
    kept: dict[str, str]


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
                try:
                    self._send(self._ledger.jobs.find(job.job_id, owner=None))
                except errors.TooLarge as error:
                    logs.log("job.dead_lettered", level="ERROR", job_id=job.job_id, error=error.code)
                    self._ledger.watching.dead_letter_ended(job, "too_large")
                else:
                    self._ledger.watching.dead_letter_ended(job, "sent")

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


def _named(message: Any) -> str | None:
    """The job that a letter names; None where it is another letter. Nothing else that it says is believed."""
    known = _LETTERS.get(message.properties.get("type"))
    if known is None:
        return None
    body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
    try:
        job_id = known.decode(body).job_id
    except errors.MalformedBody:
        return None
    return job_id if _ID.fullmatch(job_id) else None


def _failed(ledger: Ledger, job_id: str) -> Job | None:
    """The job as the ledger has it; None where it did not fail for good."""
    try:
        job = ledger.jobs.find(job_id, owner=None)
    except errors.JobNotFound:
        return None
    return job if job.status == "failed" and job.dead_letter else None


def show(app: celery.Celery, ledger: Ledger) -> list[str]:
    """One line per failed job: its id, model, attempts and error; and per other letter, with what is known of it.

    Raises errors.NotAnswered.
    """
    lines: list[str] = []
    shown: set[str] = set()
    with letters(app) as found:
        for message in found:
            job_id = _named(message)
            if job_id is None:
                kind, queue = message.properties.get("type") or "unknown", message.headers.get("queue", "")
                lines.append(f"-\t{_plain(kind)}\t{len(message.body)} bytes\t{_plain(queue)}")
            elif job_id not in shown:  # else another copy of its letter
                shown.add(job_id)
                lines.append(_line(job_id, _failed(ledger, job_id)))
    return lines


def _line(job_id: str, job: Job | None) -> str:
    if job is None:
        return f"-\tunknown job\t{job_id}"
    return f"{job_id}\t{job.model}\t{job.attempts} attempts\t{job.error_code}: {job.error_message}"


def _plain(text: object) -> str:
    """What somebody wrote on a letter, without anything that a terminal obeys."""
    return "".join(one if one.isprintable() else "?" for one in str(text)[:_SHOWN])


def replay(app: celery.Celery, ledger: Ledger, enqueuer: Enqueuer, chosen: set[str] | None) -> Replayed:
    """Send the chosen jobs (None: those of all letters) again, each as the ledger has it.

    A letter leaves the queue once its new job is in the ledger, so an interrupted replay doubles
    none: the same job gives the same new job. A chosen job needs no letter. Raises errors.NotAnswered.
    """
    done = Replayed({}, {})
    with letters(app) as found:
        for message in found:
            job_id = _named(message)
            if job_id is None or (chosen is not None and job_id not in chosen):
                continue
            if job_id not in done.sent and job_id not in done.kept:  # else another copy of its letter
                _send_again(ledger, enqueuer, job_id, done)
            if job_id in done.sent:
                message.ack()
    for job_id in sorted((chosen or set()) - done.sent.keys() - done.kept.keys()):
        _send_again(ledger, enqueuer, job_id, done)
    return done


def _send_again(ledger: Ledger, enqueuer: Enqueuer, job_id: str, done: Replayed) -> None:
    failed = _failed(ledger, job_id)
    if failed is None:
        done.kept[job_id] = _UNKNOWN
        return
    try:
        if failed.kind != KIND:
            training.check_stored(failed.request)
        told = partial(making.accepted, OPERATOR)
        job = ledger.jobs.accept(_again(failed), queued_limit=sys.maxsize, told=told)
    except errors.DatasetNotFound:
        done.kept[job_id] = "its dataset is gone; the letter is kept."
        return
    except (errors.BadInput, errors.MalformedBody) as error:
        done.kept[job_id] = f"it would not be accepted now; the letter is kept. {error.message}"
        return
    enqueuer.enqueue(job.job_id, job.request_id)
    done.sent[job_id] = job.job_id


def _again(failed: Job) -> NewJob:
    return NewJob(
        job_id=uuid.uuid4().hex,
        owner=failed.owner,
        model=failed.model,
        dataset_id=failed.dataset_id,
        request=failed.request,
        request_id=f"replay-{failed.job_id}",
        body_digest=failed.job_id,
        idempotency_key=f"replay-{failed.job_id}",
        kind=failed.kind,
    )


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m api.jobs.dead_letters", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="one line per letter")
    again = commands.add_parser("replay", help="send failed jobs again, each as a new job")
    again.add_argument("job_ids", nargs="*", help="ids of failed jobs, also without a letter")
    again.add_argument("--all", action="store_true", help="every letter of a job")
    chosen = parser.parse_args(arguments)
    if chosen.command == "replay" and bool(chosen.job_ids) == chosen.all:
        parser.error("name the jobs to replay, or --all")
    config = settings.load()
    logs.configure("dead_letters", "WARNING")
    app, ledger = make_app(config.broker), Ledger(config.ledger)
    try:
        if chosen.command == "replay":
            return _report(_replay(app, config, ledger, None if chosen.all else set(chosen.job_ids)))
        sys.stdout.write("".join(f"{line}\n" for line in show(app, ledger)))
        return 0
    except errors.WarrenError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    finally:
        ledger.close()


def _replay(app: celery.Celery, config: settings.Settings, ledger: Ledger, chosen: set[str] | None) -> Replayed:
    rpc = RpcClient(config.broker, "worker", "dead-letters")
    rpc.start()
    try:
        if not rpc.wait_connected(_CONNECT_S):
            raise errors.BrokerUnavailable
        return replay(app, ledger, Enqueuer(app, rpc, ledger), chosen)
    finally:
        rpc.close()


def _report(done: Replayed) -> int:
    sys.stdout.write("".join(f"{old}\t{new}\n" for old, new in done.sent.items()))
    sys.stderr.write("".join(f"{old}: {why}\n" for old, why in done.kept.items()))
    return 1 if done.kept else 0


if __name__ == "__main__":
    sys.exit(main())
