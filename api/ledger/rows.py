"""The rows of the ledger as frozen objects; what its methods take and give."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from sqlalchemy import Row

from wire import messages

Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "withdrawn"]
"""A job's state. ``withdrawn``: its message was not accepted; it is shown to nobody."""

LIVE: tuple[Status, ...] = ("queued", "running")
"""The states a job can still leave."""

ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled")
"""The states a job never leaves."""

Kind = Literal["csv", "parquet", "jsonl"]
"""The format of a dataset's file ``data.<kind>``."""


KeyState = Literal["live", "expired", "revoked"]
"""Whether an API key counts."""

DeedKind = Literal[
    "key.created",
    "key.revoked",
    "train.accepted",
    "batch.accepted",
    "job.withdrawn",
    "job.cancelled",
    "dataset.stored",
    "dataset.deleted",
    "alias.moved",
    "alias.deleted",
    "model.rolled_back",
    "version.deleted",
    "model.deleted",
]
"""What the audit log tells of."""


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job to be accepted. ``request`` is what is asked, encoded: a TrainRequest, or for the kind
    ``predict`` an offline.Order. ``body_digest`` is the hash of what the caller sent: the same key with
    another digest is another body.
    """

    job_id: str
    owner: str
    model: str
    dataset_id: str | None
    request: str
    request_id: str
    body_digest: str
    idempotency_key: str | None = None
    kind: str = "train"


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What maintenance, which looks at many jobs each second, reads of a row of ``jobs``; nothing large."""

    number: int
    job_id: str
    request_id: str
    cancel_requested: bool
    confirmed: bool
    enqueues: int
    attempts: int
    epoch: int
    beat: int
    holder: str | None


class Job(Watched, frozen=True, kw_only=True):
    """A row of ``jobs``; see ``tables.jobs`` for its columns."""

    kind: str
    owner: str
    idempotency_key: str | None
    body_digest: str
    model: str
    dataset_id: str | None
    request: str
    status: Status
    settle_due: bool
    fraction: float
    stage: str
    message: str
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    result: str | None
    error_code: str | None
    error_message: str | None
    dead_letter: str
    events: int

    @property
    def ended(self) -> bool:
        """Whether it is in a state it never leaves."""
        return self.status in ENDED

    @property
    def accepted(self) -> bool:
        """Whether it is so for certain: the broker keeps a message, a worker had it, or it has ended."""
        return self.confirmed or self.epoch > 0 or self.ended

    @property
    def must_settle(self) -> bool:
        """Whether what is left to do is to ask the volume and end the job, not to train."""
        return self.cancel_requested or self.settle_due

    def train_request(self) -> messages.TrainRequest:
        """What to ask of a trainer, for the present attempt."""
        return msgspec.structs.replace(
            messages.TrainRequest.decode(self.request.encode()), job_id=self.job_id, attempt=self.attempts
        )


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``job_events``; ``data`` is JSON text."""

    job_id: str
    sequence: int
    at_ms: int
    name: str
    data: str


class Renewal(msgspec.Struct, frozen=True):
    """What a renewal of a lease tells: the lease stands, and whether a cancel was asked for."""

    job_id: str
    cancel_requested: bool


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``datasets``; ``profile`` is an encoded DatasetProfile."""

    dataset_id: str
    kind: Kind
    size_bytes: int
    sha256: str
    created_ms: int
    used_ms: int
    profile: str | None = None
    error_code: str | None = None
    error_message: str | None = None

    def columns(self) -> messages.DatasetProfile | None:
        """The profile, decoded; None while nobody has made it."""
        return None if self.profile is None else messages.DatasetProfile.decode(self.profile.encode())


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``keys``; ``number`` 0: not stored yet; ``rate_per_s`` None: any number of calls.

    The secret is in nobody's memory.
    """

    prefix: str
    digest: str
    owner: str
    scopes: str
    created_ms: int
    expires_ms: int
    revoked_ms: int | None = None
    rate_per_s: float | None = None
    number: int = 0

    def state(self, at_ms: int) -> KeyState:
        """Whether it counts at a point in time."""
        if self.revoked_ms is not None:
            return "revoked"
        return "live" if at_ms < self.expires_ms else "expired"


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``audit``: somebody changed something; ``number`` 0: not stored yet."""

    at_ms: int
    actor: str
    key_prefix: str
    action: DeedKind
    target: str
    request_id: str
    number: int = 0


def job(row: Row[Any]) -> Job:
    """The object of a row of ``jobs``."""
    return Job(**row._mapping)


def event(row: Row[Any]) -> JobEvent:
    """The object of a row of ``job_events``."""
    return JobEvent(**row._mapping)


def dataset(row: Row[Any]) -> Dataset:
    """The object of a row of ``datasets``."""
    return Dataset(**row._mapping)


def key(row: Row[Any]) -> Key:
    """The object of a row of ``keys``."""
    return Key(**row._mapping)


def deed(row: Row[Any]) -> Deed:
    """The object of a row of ``audit``."""
    return Deed(**row._mapping)
