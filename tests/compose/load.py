"""Load on a stack: predictions at a fixed rate, trainings beside them, and an account of what came back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType

import httpx

from tests.acceptance.stack import Client, Json

ROW = [5.1, 3.5, 1.4, 0.2]
MODEL = "under-load"
TRAINING = {"dataset": {"sample": "iris"}, "target": "target", "estimator": "GaussianNB"}


@dataclass
class Load:
    """Predictions at ``rate_s`` a second, whatever the answers do (an open loop), until the block ends.

    Every ``train_every_s`` a training is asked for, each under an Idempotency-Key, as a client would
    that asks again when it got no answer. ``refused`` are answers that say so (503 and the like);
    ``broken`` are requests without any answer, or with a wrong one.
    """

    url: str
    headers: dict[str, str]
    rate_s: float = 100.0
    train_every_s: float = 8.0
    sent: int = 0
    answered: int = 0
    refused: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    last_failure: float = 0.0
    without_retry_after: int = 0
    right_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=lambda: asyncio.run(self._predict())),
            threading.Thread(target=self._train),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    async def _predict(self) -> None:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
        async with (
            httpx.AsyncClient(
                base_url=self.url, headers=self.headers, timeout=20, limits=limits, trust_env=False
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            due = time.monotonic()
            while not self._end.is_set():
                group.create_task(self._one(client))
                due += 1 / self.rate_s
                await asyncio.sleep(max(0, due - time.monotonic()))

    async def _one(self, client: httpx.AsyncClient) -> None:
        self.sent += 1
        begun = time.monotonic()
        try:
            answer = await client.post("/predict", json={"model": MODEL, "instances": [ROW]})
        except httpx.HTTPError as error:
            self._failed(self.broken, f"{type(error).__name__} after {time.monotonic() - begun:.1f} s")
            return
        self.seconds.append(time.monotonic() - begun)
        if answer.status_code == 200 and answer.json()["predictions"] == ["setosa"]:
            self.answered += 1
            self.right_s.append(self.seconds[-1])
        elif answer.status_code in (429, 503):
            self.refused_s.append(self.seconds[-1])
            self.without_retry_after += "retry-after" not in answer.headers
            self._failed(self.refused, f"{answer.status_code} {answer.json().get('code')}")
        else:
            self._failed(self.broken, f"{answer.status_code} {answer.text[:200]}")

    def _failed(self, where: list[str], what: str) -> None:
        where.append(what)
        self.last_failure = time.monotonic()

    def _train(self) -> None:
        with httpx.Client(base_url=self.url, headers=self.headers, timeout=20, trust_env=False) as client:
            number = 0
            while not self._end.wait(self.train_every_s):
                number += 1
                self._accept(client, f"load-{id(self)}-{number}", f"trained-{number % 4}")

    def _accept(self, client: httpx.Client, key: str, model: str) -> None:
        """Ask until it is accepted or the load ends."""
        while not self._end.is_set():
            try:
                answer = client.post("/train", json={"model": model, **TRAINING}, headers={"Idempotency-Key": key})
            except httpx.HTTPError:
                continue
            if answer.status_code == 202:
                self.jobs.append(answer.json()["job_id"])
                return
            if answer.status_code not in (502, 503, 504):
                self.broken.append(f"train: {answer.status_code} {answer.text[:200]}")
                return
            time.sleep(0.2)

    def quantile_s(self, share: float) -> float:
        return _quantile(self.seconds, share)

    def right_quantile_s(self, share: float) -> float:
        """Of the answers that predict."""
        return _quantile(self.right_s, share)

    def refused_quantile_s(self, share: float) -> float:
        """Of the answers that refuse."""
        return _quantile(self.refused_s, share)

    def account(self) -> str:
        """One line for a report."""
        refused, broken = dict(Counter(self.refused)), dict(Counter(self.broken).most_common(5))
        return (
            f"{self.sent} predictions, {self.answered} right, refused {refused}"
            f" (9 of 10 within {self.refused_quantile_s(0.9) * 1000:.0f} ms), broken {broken}, "
            f"p50 {self.quantile_s(0.5) * 1000:.0f} ms, p99 {self.quantile_s(0.99) * 1000:.0f} ms, "
            f"longest {max(self.seconds) * 1000:.0f} ms, {len(self.jobs)} trainings accepted"
        )


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def every_job_made_one_version(client: Client, jobs: list[str], timeout_s: float = 120) -> None:
    """Each accepted job ends ``succeeded``, and each has a version of its own that exists once."""
    results: list[Json] = []
    for job_id in jobs:
        job = client.finished(job_id, timeout_s)
        assert job["status"] == "succeeded", job
        results.append(job["result"])
    made = Counter((result["model"], result["version"]) for result in results)
    assert all(count == 1 for count in made.values()), made
    for model in {result["model"] for result in results}:
        versions = client.call("GET", f"/models/{model}", 200)["versions"]
        manifests = [client.call("GET", f"/models/{model}/versions/{one['version']}", 200) for one in versions]
        owners = Counter(one["manifest"]["job_id"] for one in manifests)
        assert all(count == 1 for count in owners.values()), owners
