"""When jobs were open, of an account's: which still are, how many were at a moment, and how late the last one ended."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import httpx

from tests.acceptance.stack import ENDED
from tests.faults.account import Account


class Span(NamedTuple):
    """A job's life in seconds since 1970: from its 202 to the end that the ledger has."""

    accepted: float
    ended: float


class OpenJobs:
    """The accepted jobs that have not ended, as far as the gateway tells it at the moment."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._client = httpx.Client(base_url=account.stage.url, timeout=5, trust_env=False)
        self._ended: set[str] = set()

    def count(self) -> int:
        """Ask for each that was open, and say how many are; who is not told of counts as open."""
        for job_id in {*self._account.accepted.values()} - self._ended:
            with contextlib.suppress(httpx.HTTPError):
                answer = self._client.get(f"/jobs/{job_id}")
                if answer.status_code == 200 and answer.json()["status"] in ENDED:
                    self._ended.add(job_id)
        return len(self._account.accepted) - len(self._ended)


def spans(account: Account) -> list[Span]:
    """The lives of the jobs of a settled account; one that has not ended is told as stuck, and not here."""
    return [
        Span(account.accepted_at[job_id], datetime.fromisoformat(job["ended_at"]).timestamp())
        for job_id, job in account.told.items()
        if job.get("ended_at")
    ]


def open_at(lives: Sequence[Span], moment: float) -> int:
    """How many jobs had been accepted and had not ended."""
    return sum(one.accepted <= moment < one.ended for one in lives)


def slowest_end_s(lives: Sequence[Span], fault_ends: Sequence[float]) -> float:
    """The longest that a job took from its 202, or from the end of the last fault before its own end."""
    return max((one.ended - _begin(one, fault_ends) for one in lives), default=0.0)


def _begin(one: Span, fault_ends: Sequence[float]) -> float:
    return max((one.accepted, *(moment for moment in fault_ends if moment <= one.ended)))
