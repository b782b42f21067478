"""Changes of aliases and versions, and settlements of jobs: everything that has one order."""

from __future__ import annotations

from typing import Any, ClassVar

from wire.messages.envelope import Message


class SetAlias(Message, frozen=True, kw_only=True):
    """Move an alias. ``expected`` (0: no alias yet) makes it a compare-and-swap; None moves it anyway."""

    TYPE: ClassVar[str] = "alias.set"
    model: str
    alias: str
    version: int
    expected: int | None = None
    by: str = ""


class DeleteAlias(Message, frozen=True, kw_only=True):
    """Remove an alias."""

    TYPE: ClassVar[str] = "alias.delete"
    model: str
    alias: str
    by: str = ""


class Rollback(Message, frozen=True, kw_only=True):
    """Point the alias ``champion`` at the version it named before."""

    TYPE: ClassVar[str] = "alias.rollback"
    model: str
    by: str = ""


class AliasState(Message, frozen=True, kw_only=True):
    """The alias after a change. ``version`` 0: it is gone. ``previous`` 0: there was none."""

    TYPE: ClassVar[str] = "alias.state"
    model: str
    alias: str
    version: int
    previous: int
    revision: int


class DeleteVersion(Message, frozen=True, kw_only=True):
    """Delete one version that no alias names."""

    TYPE: ClassVar[str] = "version.delete"
    model: str
    version: int
    by: str = ""


class DeleteModel(Message, frozen=True, kw_only=True):
    """Delete a model with all versions and aliases."""

    TYPE: ClassVar[str] = "model.delete"
    model: str
    by: str = ""


class Deleted(Message, frozen=True, kw_only=True):
    """It is gone: no predict that is sent later is answered by it."""

    TYPE: ClassVar[str] = "deleted"


class Settle(Message, frozen=True, kw_only=True):
    """End a job on the volume: either it has its version already, or it never gets one."""

    TYPE: ClassVar[str] = "job.settle"
    model: str
    job_id: str


class Settled(Message, frozen=True, kw_only=True):
    """``version`` is the one the job published, or 0: a tombstone now forbids publishing it."""

    TYPE: ClassVar[str] = "job.settled"
    job_id: str
    version: int
    metrics: dict[str, Any] = {}
