"""The client for threads: every call of the gateway as a method with types.

Between your code and the gateway's HTTP API. One client holds a pool of connections and may be
used from many threads; close it, or use it in a ``with``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from warren import admin, answers, calls, flow, profiles, training
from warren import rows as rows_of
from warren.answers import Dataset, Prediction
from warren.jobs import Job
from warren.patience import Retries
from warren.rows import Rows
from warren.training import Data
from warren.transport import Transport

BATCH_ROWS = 1_000
"""Rows of one request of a bulk prediction."""
IN_FLIGHT = 4
"""Requests of a bulk prediction at once."""


class Client:
    """A gateway; without an address the one of WARREN_URL, the profile file, or this machine's."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        profile: str | None = None,
        retries: Retries | None = None,
    ) -> None:
        """``retries`` bounds how often predictions and trainings are sent again.

        Raises errors.InvalidConfig for an address, a key or a profile that can't be used.
        """
        self._transport = Transport(profiles.target(url, api_key, profile))
        self._retries = retries or Retries()

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self._transport.target.url

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    # ------------------------------------------------------------------ predictions

    def predict(
        self,
        model: str,
        rows: Rows,
        *,
        version: int | str | None = None,
        probabilities: bool = False,
        timeout_s: float = calls.PREDICT_S,
    ) -> Prediction:
        """Predict rows (at most 10,000) by the champion, a version's number or an alias.

        ``timeout_s`` bounds each attempt at the gateway, at most 30. Raises errors.InvalidRows,
        errors.ApiError kinds and errors.NotAnswered kinds.
        """
        return self.predict_json(
            model, rows_of.encode(rows), version=version, probabilities=probabilities, timeout_s=timeout_s
        )

    def predict_json(
        self,
        model: str,
        instances: bytes,
        *,
        version: int | str | None = None,
        probabilities: bool = False,
        timeout_s: float = calls.PREDICT_S,
    ) -> Prediction:
        """The same for rows that are a JSON array already."""
        call = calls.predict(
            model,
            instances,
            version=version,
            probabilities=probabilities,
            deadline_s=timeout_s,
            retries=self._retries,
        )
        return self._transport.run(call)

    def predict_batches(
        self,
        model: str,
        rows: Rows,
        *,
        version: int | str | None = None,
        probabilities: bool = False,
        batch_rows: int = BATCH_ROWS,
        in_flight: int = IN_FLIGHT,
        timeout_s: float = 30.0,
    ) -> Iterator[Prediction]:
        """Predict any number of rows, ``batch_rows`` in a request and ``in_flight`` requests at once.

        Answers come in the order of the rows, all from one version: an alias is looked up once.
        """
        number = version if isinstance(version, int) else self.served(model, version or "champion")
        ask = partial(self.predict, model, version=number, probabilities=probabilities, timeout_s=timeout_s)
        return flow.ordered(rows_of.slices(rows, batch_rows), ask, in_flight)

    def served(self, model: str, alias: str = "champion") -> int:
        """The version that an alias names. Raises errors.NotFound."""
        return self.model(model).served(alias)

    # ------------------------------------------------------------------ data and trainings

    def upload(self, data: str | Path | Any, sent: Callable[[int], None] | None = None) -> Dataset:
        """Upload a CSV or Parquet file, streamed, or a pandas or Polars frame.

        ``sent`` hears how many bytes went out. The same bytes give the same dataset.
        """
        if isinstance(data, str | os.PathLike):
            path = Path(data)
            return self._transport.upload(path, training.media_of(path), sent)
        file, size, media = training.file_of(data)
        return self._transport.upload_open(file, size, media, sent)

    def train(
        self,
        model: str,
        data: Data,
        target: str,
        *,
        estimator: str | None = None,
        params: Mapping[str, Any] | None = None,
        search: Mapping[str, Any] | None = None,
        validation: Mapping[str, Any] | None = None,
        promote: str | None = None,
        key: str | None = None,
    ) -> Job:
        """Train a model on ``data`` to predict the column ``target``; files and frames are uploaded first.

        ``key`` is the idempotency key, made once when None: however often the request is sent again,
        it is one job.
        """
        upload = isinstance(data, str | os.PathLike) or training.is_frame(data)
        choice = training.choice_of(self.upload(data) if upload else data)
        body = training.body_of(
            model,
            choice,
            target,
            estimator=estimator,
            params=params,
            search=search,
            validation=validation,
            promote=promote,
        )
        accepted = self._transport.run(calls.train(body, key or training.new_key(), self._retries))
        return Job(self._transport, accepted.view("train", model, target))

    def predict_dataset(
        self,
        model: str,
        data: Data,
        *,
        version: int | str | None = None,
        probabilities: bool = False,
        columns: Sequence[str] | Literal["all"] = (),
        key: str | None = None,
    ) -> Job:
        """Have the gateway predict a whole upload: a job, whose output ``save`` writes to a file.

        ``data`` is a ``Dataset``, ``{"id": …}``, or a path or a frame that is uploaded first; ``columns``
        of it are repeated in the output. ``key`` as in ``train``.
        """
        upload = isinstance(data, str | os.PathLike) or training.is_frame(data)
        choice = training.choice_of(self.upload(data) if upload else data)
        body = training.order_of(model, choice, version, probabilities=probabilities, columns=columns)
        accepted = self._transport.run(calls.predict_dataset(body, key or training.new_key(), self._retries))
        return Job(self._transport, accepted.view("predict", model))

    def dataset(self, dataset_id: str) -> Dataset:
        """An upload."""
        return self._transport.run(calls.dataset(dataset_id))

    def datasets(self, limit: int = 50, cursor: str | None = None) -> answers.Datasets:
        """Uploads, newest first, a page at a time."""
        return self._transport.run(calls.datasets(limit, cursor))

    def delete_dataset(self, dataset_id: str) -> None:
        """Forget an upload; errors.Conflict while a job uses it."""
        self._transport.run(calls.delete_dataset(dataset_id))

    def job(self, job_id: str) -> Job:
        """A job by its id."""
        return Job(self._transport, self._transport.run(calls.job(job_id)))

    def jobs(
        self, model: str | None = None, status: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> answers.Jobs:
        """Jobs, newest first, a page at a time."""
        return self._transport.run(calls.jobs(model, status, limit, cursor))

    # ------------------------------------------------------------------ models

    def models(self) -> Sequence[answers.ModelSummary]:
        """Every model with its champion and its newest version."""
        return self._transport.run(calls.models()).models

    def model(self, model: str) -> answers.Model:
        """A model with its aliases and versions."""
        return self._transport.run(calls.model(model))

    def version(self, model: str, version: int) -> answers.Version:
        """A version with everything its manifest says."""
        return self._transport.run(calls.version(model, version))

    def set_alias(self, model: str, alias: str, version: int, expected: int | None = None) -> answers.AliasState:
        """Make an alias name a version; with ``expected`` only if it names that one now (0: none)."""
        return self._transport.run(calls.set_alias(model, alias, version, expected))

    def delete_alias(self, model: str, alias: str) -> None:
        """Remove an alias; the version it named stays."""
        self._transport.run(calls.delete_alias(model, alias))

    def rollback(self, model: str) -> answers.AliasState:
        """Make the champion the version it was before."""
        return self._transport.run(calls.rollback(model))

    def delete_version(self, model: str, version: int) -> None:
        """Delete a version that no alias names."""
        self._transport.run(calls.delete_version(model, version))

    def delete_model(self, model: str) -> None:
        """Delete a model with all its versions."""
        self._transport.run(calls.delete_model(model))

    # ------------------------------------------------------------------ the gateway itself

    def keys(self, limit: int = 50, cursor: str | None = None) -> admin.Keys:
        """API keys, newest first, a page at a time."""
        return self._transport.run(calls.keys(limit, cursor))

    def create_key(
        self, owner: str, scopes: Sequence[str], days: int | None = None, rate_per_s: float | None = None
    ) -> admin.NewKey:
        """Make a key; the answer is the only place that shows it. What is None is as the gateway's settings say.

        ``rate_per_s`` math.inf: it may make any number of calls.
        """
        return self._transport.run(calls.create_key(owner, list(scopes), days, rate_per_s))

    def revoke_key(self, prefix: str) -> None:
        """End a key."""
        self._transport.run(calls.revoke_key(prefix))

    def diagnosis(self) -> admin.Diagnosis:
        """The gateway's own examination of its parts; needs an admin's key."""
        return self._transport.run(calls.diagnosis())

    def readiness(self) -> admin.Health:
        """Whether the gateway can do its work, and what is missing; needs no key."""
        return self._transport.run(calls.readiness())

    def ping(self) -> Mapping[str, str]:
        """Ask whether a replica is alive; the headers of its answer, names in lower case."""
        return self._transport.ping()
