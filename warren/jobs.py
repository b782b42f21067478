"""A job that was accepted: watch it, wait for it, stop it. One class for threads, one for event loops.

Between ``client.train`` and the calls under /jobs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

from warren import calls, errors, outputs
from warren.answers import Event, JobResult, JobView, Progress
from warren.async_transport import AsyncTransport
from warren.transport import Transport

OnProgress = Callable[[Progress], None]
"""Hears how far a job is, at every event that says so."""


class _Known:
    """What is known of a job: its id, and what the gateway last told in ``view``."""

    view: JobView

    @property
    def id(self) -> str:
        """The job's id."""
        return self.view.job_id

    @property
    def status(self) -> str:
        """Its state when it was last looked at: queued, running, succeeded, failed or cancelled."""
        return self.view.status

    @property
    def ended(self) -> bool:
        """Whether it had come to its end when it was last looked at."""
        return self.view.ended

    @property
    def result(self) -> JobResult | None:
        """What it has done; None until it has succeeded."""
        view = self.view
        if view.result is None:
            return None
        return msgspec.convert({"model": view.model, "version": view.version or 0, **view.result}, JobResult)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}>"

    def _hear(self, event: Event, on_progress: OnProgress | None) -> None:
        self.view = event.applied_to(self.view)
        if on_progress is not None and event.progress is not None:
            on_progress(event.progress)

    def _outcome(self) -> JobResult:
        """The result of a job that has ended. Raises errors.JobFailed and errors.JobCancelled."""
        view = self.view
        if view.status == "succeeded":
            return self.result or JobResult(view.model, 0)
        if view.status == "cancelled":
            raise errors.JobCancelled(view, "cancelled", "The job was cancelled.")
        error = view.error
        raise errors.JobFailed(view, error.code if error else "unknown", error.message if error else "It failed.")


class Job(_Known):
    """A job; get one from ``Client.train`` or ``Client.job``."""

    def __init__(self, transport: Transport, view: JobView) -> None:
        """``view`` is what is known so far."""
        self._transport = transport
        self.view = view

    def refresh(self) -> JobView:
        """Ask the gateway how it stands."""
        self.view = self._transport.run(calls.job(self.id))
        return self.view

    def events(self, after: int = 0, timeout_s: float | None = None) -> Iterator[Event]:
        """Everything that happened and happens, up to its end; a broken stream goes on where it was.

        ``after``: the number of the last event that is known already.
        """
        return self._transport.events(self.id, after, timeout_s)

    def wait(self, timeout_s: float | None = None, on_progress: OnProgress | None = None) -> JobResult:
        """Wait for its end. Raises errors.JobFailed, errors.JobCancelled, and errors.TimedOut after
        ``timeout_s`` (the job goes on).
        """
        for event in () if self.ended else self.events(timeout_s=timeout_s):
            self._hear(event, on_progress)
        if not self.ended:
            self.refresh()
        return self._outcome()

    def cancel(self) -> JobView:
        """Ask for its stop; it has ended when ``wait`` returns."""
        self.view = self._transport.run(calls.cancel(self.id))
        return self.view

    def save(self, path: str | Path) -> None:
        """Write the output of a prediction of a dataset to a file, Parquet if it is called so, else CSV."""
        with outputs.replacing(Path(path)) as file:
            self._transport.download(calls.output(self.id, outputs.format_of(Path(path))), file.write)


class AsyncJob(_Known):
    """The same for an event loop; get one from ``AsyncClient.train`` or ``AsyncClient.job``."""

    def __init__(self, transport: AsyncTransport, view: JobView) -> None:
        """``view`` is what is known so far."""
        self._transport = transport
        self.view = view

    async def refresh(self) -> JobView:
        """Ask the gateway how it stands."""
        self.view = await self._transport.run(calls.job(self.id))
        return self.view

    def events(self, after: int = 0, timeout_s: float | None = None) -> AsyncIterator[Event]:
        """See ``Job.events``."""
        return self._transport.events(self.id, after, timeout_s)

    async def wait(self, timeout_s: float | None = None, on_progress: OnProgress | None = None) -> JobResult:
        """See ``Job.wait``."""
        if not self.ended:
            async for event in self.events(timeout_s=timeout_s):
                self._hear(event, on_progress)
        if not self.ended:
            await self.refresh()
        return self._outcome()

    async def cancel(self) -> JobView:
        """See ``Job.cancel``."""
        self.view = await self._transport.run(calls.cancel(self.id))
        return self.view

    async def save(self, path: str | Path) -> None:
        """See ``Job.save``."""
        with outputs.replacing(Path(path)) as file:
            await self._transport.download(calls.output(self.id, outputs.format_of(Path(path))), file.write)
