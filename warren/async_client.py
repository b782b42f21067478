"""The client for event loops: the twin of ``warren.client``, with ``await``.

Between your code and the gateway's HTTP API. One client holds a pool of connections and belongs to
one event loop; close it, or use it in an ``async with``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from warren import admin, answers, calls, flow, profiles, training
from warren import rows as rows_of
from warren.answers import Dataset, Prediction
from warren.async_transport import AsyncTransport
from warren.client import BATCH_ROWS, IN_FLIGHT
from warren.jobs import AsyncJob
from warren.patience import Retries
from warren.rows import Rows
from warren.training import Data


class AsyncClient:
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
        self._transport = AsyncTransport(profiles.target(url, api_key, profile))
        self._retries = retries or Retries()

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self._transport.target.url

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    # ------------------------------------------------------------------ predictions

    async def predict(
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
        return await self.predict_json(
            model, rows_of.encode(rows), version=version, probabilities=probabilities, timeout_s=timeout_s
        )

    async def predict_json(
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
        return await self._transport.run(call)

    async def predict_batches(
        self,
        model: str,
        rows: Rows,
        *,
        version: int | str | None = None,
        probabilities: bool = False,
        batch_rows: int = BATCH_ROWS,
        in_flight: int = IN_FLIGHT,
        timeout_s: float = 30.0,
    ) -> AsyncIterator[Prediction]:
        """Predict any number of rows, ``batch_rows`` in a request and ``in_flight`` requests at once.

        Answers come in the order of the rows, all from one version: an alias is looked up once.
        """
        number = version if isinstance(version, int) else await self.served(model, version or "champion")
        ask = partial(self.predict, model, version=number, probabilities=probabilities, timeout_s=timeout_s)
        async for answered in flow.ordered_async(rows_of.slices(rows, batch_rows), ask, in_flight):
            yield answered

    async def served(self, model: str, alias: str = "champion") -> int:
        """The version that an alias names. Raises errors.NotFound."""
        return (await self.model(model)).served(alias)

    # ------------------------------------------------------------------ data and trainings

    async def upload(self, data: str | Path | Any, sent: Callable[[int], None] | None = None) -> Dataset:
        """Upload a CSV or Parquet file, streamed, or a pandas or Polars frame.

        ``sent`` hears how many bytes went out. The same bytes give the same dataset.
        """
        if isinstance(data, str | os.PathLike):
            path = Path(data)
            return await self._transport.upload(path, training.media_of(path), sent)
        file, size, media = training.file_of(data)
        return await self._transport.upload_open(file, size, media, sent)

    async def train(
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
    ) -> AsyncJob:
        """Train a model on ``data`` to predict the column ``target``; files and frames are uploaded first.

        ``key`` is the idempotency key, made once when None: however often the request is sent again,
        it is one job.
        """
        upload = isinstance(data, str | os.PathLike) or training.is_frame(data)
        choice = training.choice_of(await self.upload(data) if upload else data)
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
        accepted = await self._transport.run(calls.train(body, key or training.new_key(), self._retries))
        return AsyncJob(self._transport, accepted.view("train", model, target))

    async def predict_dataset(
        self,
        model: str,
        data: Data,
        *,
        version: int | str | None = None,
        probabilities: bool = False,
        columns: Sequence[str] | Literal["all"] = (),
        key: str | None = None,
    ) -> AsyncJob:
        """Have the gateway predict a whole upload: a job, whose output ``save`` writes to a file.

        ``data`` is a ``Dataset``, ``{"id": …}``, or a path or a frame that is uploaded first; ``columns``
        of it are repeated in the output. ``key`` as in ``train``.
        """
        upload = isinstance(data, str | os.PathLike) or training.is_frame(data)
        choice = training.choice_of(await self.upload(data) if upload else data)
        body = training.order_of(model, choice, version, probabilities=probabilities, columns=columns)
        accepted = await self._transport.run(calls.predict_dataset(body, key or training.new_key(), self._retries))
        return AsyncJob(self._transport, accepted.view("predict", model))

    async def dataset(self, dataset_id: str) -> Dataset:
        """An upload."""
        return await self._transport.run(calls.dataset(dataset_id))

    async def datasets(self, limit: int = 50, cursor: str | None = None) -> answers.Datasets:
        """Uploads, newest first, a page at a time."""
        return await self._transport.run(calls.datasets(limit, cursor))

    async def delete_dataset(self, dataset_id: str) -> None:
        """Forget an upload; errors.Conflict while a job uses it."""
        await self._transport.run(calls.delete_dataset(dataset_id))

    async def job(self, job_id: str) -> AsyncJob:
        """A job by its id."""
        return AsyncJob(self._transport, await self._transport.run(calls.job(job_id)))

    async def jobs(
        self, model: str | None = None, status: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> answers.Jobs:
        """Jobs, newest first, a page at a time."""
        return await self._transport.run(calls.jobs(model, status, limit, cursor))

    # ------------------------------------------------------------------ models

    async def models(self) -> Sequence[answers.ModelSummary]:
        """Every model with its champion and its newest version."""
        return (await self._transport.run(calls.models())).models

    async def model(self, model: str) -> answers.Model:
        """A model with its aliases and versions."""
        return await self._transport.run(calls.model(model))

    async def version(self, model: str, version: int) -> answers.Version:
        """A version with everything its manifest says."""
        return await self._transport.run(calls.version(model, version))

    async def set_alias(self, model: str, alias: str, version: int, expected: int | None = None) -> answers.AliasState:
        """Make an alias name a version; with ``expected`` only if it names that one now (0: none)."""
        return await self._transport.run(calls.set_alias(model, alias, version, expected))

    async def delete_alias(self, model: str, alias: str) -> None:
        """Remove an alias; the version it named stays."""
        await self._transport.run(calls.delete_alias(model, alias))

    async def rollback(self, model: str) -> answers.AliasState:
        """Make the champion the version it was before."""
        return await self._transport.run(calls.rollback(model))

    async def delete_version(self, model: str, version: int) -> None:
        """Delete a version that no alias names."""
        await self._transport.run(calls.delete_version(model, version))

    async def delete_model(self, model: str) -> None:
        """Delete a model with all its versions."""
        await self._transport.run(calls.delete_model(model))

    # ------------------------------------------------------------------ the gateway itself

    async def keys(self, limit: int = 50, cursor: str | None = None) -> admin.Keys:
        """API keys, newest first, a page at a time."""
        return await self._transport.run(calls.keys(limit, cursor))

    async def create_key(
        self, owner: str, scopes: Sequence[str], days: int | None = None, rate_per_s: float | None = None
    ) -> admin.NewKey:
        """Make a key; the answer is the only place that shows it. What is None is as the gateway's settings say.

        ``rate_per_s`` math.inf: it may make any number of calls.
        """
        return await self._transport.run(calls.create_key(owner, list(scopes), days, rate_per_s))

    async def revoke_key(self, prefix: str) -> None:
        """End a key."""
        await self._transport.run(calls.revoke_key(prefix))

    async def diagnosis(self) -> admin.Diagnosis:
        """The gateway's own examination of its parts; needs an admin's key."""
        return await self._transport.run(calls.diagnosis())

    async def readiness(self) -> admin.Health:
        """Whether the gateway can do its work, and what is missing; needs no key."""
        return await self._transport.run(calls.readiness())
