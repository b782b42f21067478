"""What an account comes to at the end.

A job is *lost* when it was accepted and has no end, or ended ``succeeded`` without its version;
*duplicated* when it has two versions, or one key two jobs; *unexpected* when a version or a ledger row
belongs to no key; *stuck* when it has not ended in time; *partial* when something half made is left on the
volume, or a version does not verify. Messages left in queues, and dead letters that should not be there
or are missing, are told as well.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from tests.acceptance.stack import ENDED


class Outcome(NamedTuple):
    """The verdict; every list must be empty."""

    lost: list[str]
    duplicated: list[str]
    unexpected: list[str]
    stuck: list[str]
    partial: list[str]
    queues: list[str]
    failed: list[str]

    def defects(self) -> list[str]:
        found = []
        for name, items in self._asdict().items():
            if items:
                found.append(f"{name} {len(items)}: {', '.join(items[:5])}")
        return found


class Facts(NamedTuple):
    """What is known at the end: promises, and what there is.

    ``accepted``: key to job id. ``jobs``: the last answer to GET /jobs/{id}, by id. ``versions``: of every
    version on the volume its job, model and number. ``ledger``: every job id the ledger has of these models.
    """

    accepted: dict[str, str]
    jobs: dict[str, dict[str, Any]]
    versions: list[tuple[str, str, int]]
    ledger: set[str]
    queues: list[str]
    partial: list[str]


def verdict(facts: Facts) -> Outcome:
    """What follows from the facts; a job that was cancelled or failed needs no version and may have none."""
    known = set(facts.accepted.values())
    counted = Counter(job_id for job_id, _, _ in facts.versions)
    there = set(facts.versions)
    lost = [f"{key}: nobody knows job {one}" for key, one in facts.accepted.items() if one not in facts.jobs]
    for job_id, job in facts.jobs.items():
        if job["status"] == "succeeded" and (job_id, job["model"], job["result"]["version"]) not in there:
            lost.append(f"{job_id} succeeded without its version {job['result']['version']}")
    of_nobody = [job_id for job_id in counted if job_id not in known]
    of_nobody += [job_id for job_id, job in facts.jobs.items() if counted[job_id] and job["status"] == "cancelled"]
    return Outcome(
        lost=lost,
        duplicated=[f"{job_id} has {count} versions" for job_id, count in counted.items() if count > 1],
        unexpected=[f"version of {one}" for one in of_nobody] + [f"ledger: {one}" for one in facts.ledger - known],
        stuck=[f"{one} {job['status']}" for one, job in facts.jobs.items() if job["status"] not in ENDED],
        partial=facts.partial,
        queues=facts.queues,
        failed=[f"{one} {job.get('error')}" for one, job in facts.jobs.items() if job["status"] == "failed"],
    )
