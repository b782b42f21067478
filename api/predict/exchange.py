"""One prediction from its headers to its answer, whichever door it came through.

Between a door (``route`` for ASGI, ``lean`` on the connection itself) and the coalescer. A door
brings headers and body, and takes status, fields and bytes back; every check, every error, the
deadline and the metrics are here, once. What a body, an answer and an error look like is for the
form of the call to say (``forms``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.to_thread

from api import bodies, headers, metrics, problems, refusals
from api.keys.keyless import Keyless
from api.keys.keyring import Keyring, UnknownKey
from api.predict import envelope
from api.predict.batches import Answer, Outcome, Pending
from api.predict.coalescer import Coalescer
from api.predict.forms import Field, Form, RawHeaders
from api.predict.statistics import Statistics
from wire import errors, logs
from wire.settings import Settings

_INLINE_BYTES = 256 * 1024
"""Bodies up to this are read whole at once; larger ones in a thread, so that other requests go on."""
_READERS = 2
"""Threads for them: not the ledger's, so that neither waits for the other; few, because reading has Python's lock."""
_MAX_HEADERS = 256


class Predictions:
    """What all exchanges of a replica share: limits, coalescer, counts, and the bytes being received."""

    def __init__(
        self,
        settings: Settings,
        coalescer: Callable[[], Coalescer],
        keyring: Callable[[], Keyring],
        form_of: Callable[[bytes], Form | None],
        respond: problems.Respond,
    ) -> None:
        """``coalescer`` and ``keyring`` are asked for at every request: they are made when the replica starts.

        ``form_of`` finds the form of a prediction by its path; None for all other paths. ``respond`` makes
        the answer for an error of any path.
        """
        self.form_of = form_of
        self.respond = respond
        self.keyless = Keyless(settings.api.hosts) if settings.api.keys == "off" else None
        self.keyring = keyring
        self.body_bytes = settings.limits.predict_body_bytes
        self.rows = settings.limits.predict_rows
        self.limits = settings.predict
        self.coalescer = coalescer
        self.statistics = Statistics()
        self.receiving_bytes = 0
        self.reading: set[asyncio.Task[None]] = set()
        self.readers = anyio.CapacityLimiter(_READERS)
        self._counted: dict[tuple[str, int], Any] = {}

    def count(self, route: str, status: int, seconds: float) -> None:
        """One exchange has ended."""
        counters = self._counted.get((route, status))
        if counters is None:
            counters = metrics.requests.labels(route, "POST", str(status)), metrics.request_seconds.labels(route)
            self._counted[route, status] = counters
        counters[0].inc()
        counters[1].observe(seconds)


class Exchange(Pending):
    """One request and its answer. A door's subclass has ``respond``, and calls the rest in order."""

    __slots__ = (
        "_deadline_s", "_ended", "_found", "_glanced", "_reserved_bytes", "_shared", "_unknown", "form", "started_at",
    )  # fmt: skip

    def __init__(self, shared: Predictions, found: RawHeaders, form: Form) -> None:
        """``found`` are the request's headers; ``form`` is that of its call."""
        super().__init__(headers.request_id(found.get(b"x-request-id")))
        self.form = form
        self._shared = shared
        self._found = found
        self._ended = False
        self._reserved_bytes = 0
        self._unknown = False
        self._glanced: bytes | None = None
        self.started_at = time.monotonic()
        metrics.in_flight.inc()

    def respond(self, status: int, kind: bytes, fields: tuple[Field, ...], body: bytes) -> None:
        """Send the answer: its status, content type, own fields and body; called at most once."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether it was answered, or its client has gone."""
        return self._ended

    # ------------------------------------------------------------------ what a door calls

    def open(self, method: bytes, query_bytes: int, count: int) -> bool:
        """Check what stands before the body; False when that was answered with a refusal.

        ``count`` is how many header lines there were.
        """
        found = self._found
        try:
            if self._shared.keyless is None:
                self._admit(found)
            else:
                self._shared.keyless.check(found)
            _check_request(method, query_bytes, found, count)
            self.form.check(found)
            self._deadline_s = self.form.timeout_s(found, self._shared.limits)
            declared = bodies.declared_bytes(found, self._shared.body_bytes)
            # Who may have no key at all gets half of the room, so that the others always find some.
            room_bytes = self._shared.limits.waiting_bytes // (2 if self._unknown else 1)
            if self._shared.receiving_bytes + declared > room_bytes:
                raise errors.Overloaded
        except errors.WarrenError as error:
            self.refuse(error)
            return False
        self._shared.receiving_bytes += declared
        self._reserved_bytes = declared
        return True

    def too_long(self, size_bytes: int) -> bool:
        """Whether a body of this many bytes is over the limit; if so that was answered."""
        if size_bytes <= self._shared.body_bytes:
            return False
        self.refuse(bodies.too_large(self._shared.body_bytes))
        return True

    def ask(self, raw: bytes) -> None:
        """The body is here: read it and wait for the answer."""
        self._received()
        self.body_bytes = len(raw)
        try:
            asked = None if self._unknown else self.form.glance(raw, self._shared.rows)
            if asked is not None:
                self._glanced = raw
                self._submit(asked)
            elif not self._unknown and self.form.json_bytes(len(raw), self._found) <= _INLINE_BYTES:
                self._submit(self.form.read(raw, self._found, self._shared.rows))
            else:
                self._later(raw, self._ask_later(raw), errors.DeadlineExceeded())
        except Exception as error:
            self._fail(error)

    def leave(self) -> None:
        """The client has gone. Harmless when the answer was sent."""
        if self._ended:
            return
        if self.held:
            self._shared.coalescer().leave(self)
        metrics.abandoned.inc()
        self._end(metrics.CLIENT_LEFT)

    # ------------------------------------------------------------------ inside

    def answer(self, outcome: Outcome) -> None:
        """The answer or the error of this request (batches.Pending)."""
        if not isinstance(outcome, Answer):
            self._shared.statistics.failed(self.asked, time.monotonic() - self.started_at)
            self._fail(outcome)
        elif not self._ended:
            try:
                written = self.form.answer(self.asked, outcome, self.request_id)
            except Exception as error:  # an answer that does not fit what was asked
                return self._fail(error)
            total_s = time.monotonic() - self.started_at
            timing = (b"server-timing", headers.server_timing(outcome.queue_s, outcome.inference_s, total_s))
            self.respond(200, written.kind, (timing, *written.fields), written.body)
            self._shared.statistics.succeeded(self.asked, outcome, total_s)
            self._end(200)
        return None

    def refuse(self, error: errors.WarrenError) -> None:
        """Answer with an error in the call's form, unless there was an answer or the client left."""
        if self._ended:
            return
        status = self.form.status(error)
        metrics.rejected.labels(error.code).inc()
        level: logs.Level = "WARNING" if status == 500 else "DEBUG"
        logs.log("predict.failed", level=level, request_id=self.request_id, code=error.code, status=status)
        fields = tuple((name.encode(), value.encode()) for name, value in problems.extra_headers(error).items())
        written = self.form.refusal(error, self.request_id)
        self.respond(written.status or status, written.kind, (*fields, *written.fields), written.body)
        self._end(status)

    def _admit(self, found: RawHeaders) -> None:
        """Raises errors.Unauthenticated, errors.Forbidden and refusals.RateLimited."""
        try:
            self._shared.keyring().admit(found, "predict")
        except (UnknownKey, errors.LedgerUnavailable):
            self._unknown = True  # a new key, perhaps, or an old memory: the ledger is asked once the body is here

    async def _ask_later(self, raw: bytes) -> None:
        """The same for a key that is not known yet, and for a body that is read in a thread."""
        try:
            if self._unknown:
                await self._shared.keyring().ask(self._found, "predict")
            asked = await anyio.to_thread.run_sync(self._read, raw, limiter=self._shared.readers)
            if asked is not None and not self._ended:
                self._submit(asked)
        except Exception as error:
            self._fail(error)

    async def _fail_later(self, raw: bytes, error: Exception) -> None:
        """The same for a body that is looked at in a thread."""
        objection = await anyio.to_thread.run_sync(self._objection, raw, limiter=self._shared.readers)
        self._fail(objection or error)

    def _read(self, raw: bytes) -> envelope.Asked | None:
        """What a body asks for; None where nobody waits for it any more."""
        return None if self._ended else self.form.read(raw, self._found, self._shared.rows)

    def _objection(self, raw: bytes) -> Exception | None:
        """What is wrong with a body at which was only glanced."""
        try:
            self._read(raw)
        except Exception as objection:
            return objection
        return None

    def _later(self, raw: bytes, work: Coroutine[Any, Any, None], late: Exception) -> None:
        """Have a task do the rest: it holds the body, and the client is told ``late`` at the deadline."""
        self._shared.receiving_bytes += len(raw)
        task = asyncio.get_running_loop().create_task(self._in_time(len(raw), work, late))
        self._shared.reading.add(task)
        task.add_done_callback(self._shared.reading.discard)

    async def _in_time(self, size_bytes: int, work: Coroutine[Any, Any, None], late: Exception) -> None:
        remaining_s = self.started_at + self._deadline_s - time.monotonic()
        timer = asyncio.get_running_loop().call_later(remaining_s, self._fail, late)
        try:
            await work
        finally:
            timer.cancel()
            self._shared.receiving_bytes -= size_bytes

    def _submit(self, asked: envelope.Asked) -> None:
        self.expect(asked, self.started_at + self._deadline_s)
        self._shared.coalescer().submit(self)

    def _fail(self, error: Exception) -> None:
        if self._ended:
            return
        raw, self._glanced = self._glanced, None
        # That nobody answered is so whatever a body holds: a 504 is late already, a 429 must cost nothing.
        if raw is None or isinstance(error, errors.Overloaded):
            pass
        elif len(raw) <= _INLINE_BYTES:
            error = self._objection(raw) or error
        elif not isinstance(error, errors.NotAnswered):
            self._later(raw, self._fail_later(raw, error), error)
            return
        if isinstance(error, errors.WarrenError):
            self.refuse(error)
        else:
            logs.log("predict.failed", level="ERROR", exc_info=error, request_id=self.request_id)
            self.refuse(errors.InternalError())

    def _received(self) -> None:
        self._shared.receiving_bytes -= self._reserved_bytes
        self._reserved_bytes = 0

    def _end(self, status: int) -> None:
        self._ended = True
        self._glanced, self.asked = None, envelope.NOTHING
        self._received()
        metrics.in_flight.dec()
        self._shared.count(self.form.route, status, time.monotonic() - self.started_at)


def _check_request(method: bytes, query_bytes: int, found: RawHeaders, count: int) -> None:
    """What can be told from method and headers. Raises what ``refusals`` has."""
    if method != b"POST":
        raise refusals.MethodNotAllowed("POST")
    if query_bytes > headers.MAX_TARGET_BYTES:
        raise refusals.UriTooLong
    size_bytes = sum(map(len, found)) + sum(map(len, found.values()))
    if count > _MAX_HEADERS or size_bytes > headers.MAX_BYTES:
        raise refusals.HeadersTooLarge
