"""The account of a run's trainings, as Jepsen keeps it: what was asked and promised; verdict.py judges it."""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from model_store import errors as store
from model_store import reading
from model_store.signing import Verifier
from tests.acceptance.stack import ENDED, TLS
from tests.faults import quick_child
from tests.faults.stage import Stage
from tests.faults.verdict import Facts, Outcome, verdict
from wire import topology

QUICK = {"dataset": {"sample": "iris"}, "target": "target", "estimator": "GaussianNB"}
_TRY_FOR_S = 120.0
"""Longer than any fault keeps everybody from accepting."""
_SUBMITTERS = 8
_TWINS_EVERY = 3


class Entry(NamedTuple):
    """One line of the account: ``what`` is invoke, ok, fail or info (nobody knows)."""

    at: float
    what: str
    key: str
    detail: str


@dataclass
class Account:
    """Submits trainings under keys of its own, and settles at the end."""

    stage: Stage
    label: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    entries: list[Entry] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    """Key to job id, of what was answered with 202."""
    accepted_at: dict[str, float] = field(default_factory=dict)
    """When each job's 202 came, in seconds since 1970."""
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the gateway says of each job, once it is settled."""
    seconds_to_202: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _twice: list[str] = field(default_factory=list)
    _models: set[str] = field(default_factory=set)
    _twins: dict[str, tuple[str, list[Future[str]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(_SUBMITTERS, thread_name_prefix="submitter")
        self._count = 0

    def submit(self, *, real: bool = False, models: int = 4) -> Future[str]:
        """Ask for one training in the background, with one key until it is accepted; its job id.

        ``real``: a model that is really fitted, else one that the quick child makes.
        """
        self._count += 1
        prefix = "real-" if real else quick_child.PREFIX
        model = f"{prefix}{self.label}-{self._count % models}"
        return self._pool.submit(self._ask, f"{self.label}-{self._count}", model)

    def submit_twins(self) -> None:
        """Ask twice with one key at the same moment; both take a refusal for an answer.

        Who asks again after a refusal would bring back what was taken from the other one.
        """
        self._count += 1
        key, model = f"{self.label}-{self._count}", f"{quick_child.PREFIX}{self.label}-twins"
        self._twins[key] = model, [self._pool.submit(self._ask, key, model, True) for _ in range(2)]

    def _ask(self, key: str, model: str, once: bool = False) -> str:
        self._models.add(model)
        self._note("invoke", key, model)
        began = time.monotonic()
        with httpx.Client(base_url=self.stage.url, timeout=15, trust_env=False, verify=TLS) as client:
            while time.monotonic() - began < _TRY_FOR_S:
                job_id, refused = self._try(client, key, model)
                if job_id:
                    self.seconds_to_202.append(time.monotonic() - began)
                    return job_id
                if once and refused:
                    return ""
                time.sleep(0.05)
        self._note("info", key, "given up")
        return ""

    def _try(self, client: httpx.Client, key: str, model: str) -> tuple[str, bool]:
        """The job's id, and whether it was refused; neither where nobody can know."""
        try:
            answer = client.post("/train", json={"model": model, **QUICK}, headers={"Idempotency-Key": key})
        except httpx.HTTPError as error:
            self._note("info", key, type(error).__name__)
            return "", False
        if answer.status_code != 202:
            self._note("fail" if answer.status_code < 500 else "info", key, f"{answer.status_code}")
            return "", answer.status_code in (429, 503)
        job_id = str(answer.json()["job_id"])
        self._note("ok", key, job_id)
        with self._lock:
            self.accepted_at.setdefault(job_id, time.time())
            if self.accepted.setdefault(key, job_id) != job_id:
                self._twice.append(f"key {key}: jobs {self.accepted[key]} and {job_id}")
        return job_id, False

    def _note(self, what: str, key: str, detail: str) -> None:
        with self._lock:
            self.entries.append(Entry(time.monotonic(), what, key, detail))

    # ------------------------------------------------------------------ the end

    def settle(self, timeout_s: float = 120, *, dead_letters: int = 0) -> Outcome:
        """Wait until every accepted job has ended and the broker is quiet, then take stock.

        ``dead_letters`` is how many messages the dead-letter queue must hold.
        """
        self._pool.shutdown(wait=True)
        for key, (model, asked) in self._twins.items():
            if not any(one.result() for one in asked):
                # Two that were refused may have left a job behind, which is the key's.
                self._ask(key, model)
        facts = Facts(
            accepted=self.accepted,
            jobs=self._ended(timeout_s),
            queues=self._left_in_queues(dead_letters),
            partial=self._await_clean(),
            versions=self._versions(),
            ledger=self._ledger_jobs(),
        )
        self.told = facts.jobs
        given_up = [f"key {entry.key} was given up" for entry in self.entries if entry.detail == "given up"]
        found = verdict(facts)
        return found._replace(
            duplicated=found.duplicated + self._twice,
            unexpected=found.unexpected + given_up,
            partial=found.partial + self._unsound(),
        )

    def dump(self, file: Path) -> None:
        """Write every line, for a person who looks for the cause."""
        file.write_text("\n".join(json.dumps(entry._asdict()) for entry in self.entries))

    def _ended(self, timeout_s: float) -> dict[str, dict[str, Any]]:
        end = time.monotonic() + timeout_s
        found: dict[str, dict[str, Any]] = {}
        open_jobs = list(self.accepted.values())
        with httpx.Client(base_url=self.stage.url, timeout=15, trust_env=False, verify=TLS) as client:
            while open_jobs:
                for job_id in open_jobs:
                    answer = _get(client, f"/jobs/{job_id}")
                    if answer.status_code == 200:
                        found[job_id] = answer.json()
                    elif answer.status_code == 404:
                        found.pop(job_id, None)
                open_jobs = [one for one in open_jobs if found.get(one, {}).get("status") not in ENDED]
                if time.monotonic() > end:
                    break
                if open_jobs:
                    time.sleep(0.3)
        return found

    def _left_in_queues(self, dead_letters: int, timeout_s: float = 30) -> list[str]:
        wanted = {topology.DEAD: dead_letters}
        end = time.monotonic() + timeout_s
        while True:
            left = [f"{name}: {n}" for name, n in self.stage.queues().items() if n != wanted.get(name, 0)]
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.5)

    def _await_clean(self, timeout_s: float = 40) -> list[str]:
        """What is half made on the volume, once the trainer has swept it."""
        end = time.monotonic() + timeout_s
        while True:
            left = [str(path) for path in self.stage.layout.models.glob("*/.tmp/*")]
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.5)

    def _versions(self) -> list[tuple[str, str, int]]:
        volume, verifier = self.stage.volume, self._verifier
        found = []
        for model in sorted(self._models & set(volume.folders())):
            for version in volume.versions(model):
                try:
                    manifest = reading.read_manifest(volume, model, version, verifier)
                except store.StoreError:
                    continue
                found.append((manifest.job_id, model, version))
        return found

    def _unsound(self) -> list[str]:
        """Versions that do not verify, every byte of them."""
        volume, bad = self.stage.volume, []
        for model in sorted(self._models & set(volume.folders())):
            for version in volume.versions(model):
                try:
                    reading.read(volume, model, version, self._verifier, 10**9, skip=())
                except store.StoreError as error:
                    bad.append(f"{model} {version}: {error}")
        return bad

    @property
    def _verifier(self) -> Verifier:
        return Verifier(self.stage.layout.secrets / "signing.pub")

    def _ledger_jobs(self) -> set[str]:
        """Every job the ledger has of this account's models."""
        found: set[str] = set()
        with httpx.Client(base_url=self.stage.url, timeout=15, trust_env=False, verify=TLS) as client:
            for model in self._models:
                cursor: str | None = ""
                while cursor is not None:
                    more = {"cursor": cursor} if cursor else {}
                    page = _get(client, "/jobs", {"model": model, "limit": "100", **more})
                    told = page.raise_for_status().json()
                    found |= {job["job_id"] for job in told["jobs"]}
                    cursor = told["next_cursor"]
        return found


def _get(client: httpx.Client, path: str, params: dict[str, str] | None = None) -> httpx.Response:
    """Asked once more where the connection ended: an old Nginx that was reloaded does that (docs/reliability.md)."""
    try:
        return client.get(path, params=params)
    except httpx.TransportError:
        return client.get(path, params=params)


def submit_until(account: Account, over: threading.Event, every_s: float = 0.5) -> None:
    """Ask for a training again and again, now and then twice at once; for a thread of its own."""
    for number in itertools.count(1):
        if over.wait(every_s):
            return
        account.submit()
        if number % _TWINS_EVERY == 0:
            account.submit_twins()
