"""Bodies in and out: strict JSON from a client, JSON back to it.

Between a route and its socket. In comes a request, out goes a msgspec struct, or an error that
names the place; the other way ``answer`` encodes one. Design 3 has the statuses: not JSON is
400, JSON of the wrong shape 422.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from api import nesting, refusals, shapes
from wire import errors
from wire.settings import Limits

T = TypeVar("T")

JSON = "application/json"
"""The only content type of bodies, but for uploads."""
_MAX_DEPTH = 32
_SHORT = 64
_INLINE_BYTES = 64 * 1024
"""Bodies up to this are decoded at once; larger ones in a thread, so that other requests go on."""
_PLACES = 2
"""Bodies of the largest size that a replica holds; what is made of one takes up to 30 times its size meanwhile."""
_DECODERS = 2
"""Threads for them: not the ledger's, so that neither waits for the other; few, because decoding has Python's lock."""
ARRIVAL_S = 30.0
"""Seconds in which a body must be here; Nginx, which collects it first, hands it on at once."""


class LargeBodies:
    """What all large bodies share that are no predictions: their room in a replica, and threads that decode them."""

    def __init__(self, limits: Limits) -> None:
        """The room is ``_PLACES`` times the largest body, however many bodies share it."""
        self.held_bytes = 0
        self._room_bytes = _PLACES * max(limits.train_body_bytes, limits.other_body_bytes)
        self._decoders = anyio.CapacityLimiter(_DECODERS)

    @contextmanager
    def held(self, size_bytes: int) -> Iterator[None]:
        """Room for a body of up to so many bytes and for what is made of it. Raises errors.Overloaded."""
        taken_bytes = size_bytes if size_bytes > _INLINE_BYTES else 0
        if taken_bytes and self.held_bytes + taken_bytes > self._room_bytes:
            raise errors.Overloaded("Too many large bodies are being read at the moment.")
        self.held_bytes += taken_bytes
        try:
            yield
        finally:
            self.held_bytes -= taken_bytes

    async def decode(self, raw: bytes, kind: type[T]) -> T:
        """``decode`` where it keeps nobody else waiting."""
        if len(raw) <= _INLINE_BYTES:
            return decode(raw, kind)
        return await anyio.to_thread.run_sync(decode, raw, kind, limiter=self._decoders)


@asynccontextmanager
async def read_json(request: Request, kind: type[T], *, limit_bytes: int) -> AsyncIterator[T]:
    """The body of a request as ``kind``, a struct with ``forbid_unknown_fields``; a large one has room until the end.

    Raises refusals.UnsupportedMedia, refusals.LengthRequired, errors.TooLarge, errors.Overloaded,
    errors.MalformedBody (not JSON) and errors.BadInput (wrong shape, with the place).
    """
    check_json_type(request.headers.get("content-type", ""), request.headers.get("content-encoding", ""))
    large: LargeBodies = request.app.large_bodies
    with large.held(declared_bytes(dict(request.headers.raw), limit_bytes)):
        yield await large.decode(await read_any(request, limit_bytes=limit_bytes), kind)


def check_json_type(content_type: str, content_encoding: str) -> None:
    """Refuse everything but plain JSON in UTF-8. Raises refusals.UnsupportedMedia."""
    media, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"') or "utf-8"
    if media.strip().lower() != JSON or charset not in ("utf-8", "utf8"):
        raise refusals.UnsupportedMedia("The content type is not application/json in UTF-8.")
    if content_encoding.strip().lower() not in ("", "identity"):
        raise refusals.UnsupportedMedia("The body is compressed; send it as it is.")


async def read_any(request: Request, *, limit_bytes: int) -> bytes:
    """The bytes of a body, where there may be none. Raises errors.TooLarge and errors.MalformedBody."""
    pieces, size = [], 0
    try:
        async with asyncio.timeout(ARRIVAL_S):
            async for piece in request.stream():
                size += len(piece)
                if size > limit_bytes:
                    raise too_large(limit_bytes)
                pieces.append(piece)
    except (ClientDisconnect, TimeoutError) as error:
        raise errors.MalformedBody("The body ended too early or came too slowly.") from error
    return b"".join(pieces)


def declared_bytes(headers: Mapping[bytes, bytes], limit_bytes: int) -> int:
    """How large the body may become. Raises refusals.LengthRequired, errors.MalformedBody and errors.TooLarge."""
    length = headers.get(b"content-length")
    if length is None:
        if b"transfer-encoding" not in headers:
            raise refusals.LengthRequired()
        return limit_bytes
    if not length.isdigit():
        raise errors.MalformedBody("The Content-Length is not a number.")
    size_bytes = int(length.lstrip(b"0")[:20] or 0)
    if size_bytes > limit_bytes:
        raise too_large(limit_bytes)
    return size_bytes


def too_large(limit_bytes: int) -> errors.TooLarge:
    """The error for a body over its limit."""
    return errors.TooLarge(f"The body is larger than {limit_bytes} bytes.")


def decode(raw: bytes, kind: type[T], *, max_depth: int = _MAX_DEPTH) -> T:
    """Strict JSON as ``kind``: UTF-8 without a mark, no NaN, no repeated keys, bounded depth.

    Raises errors.MalformedBody and errors.BadInput.
    """
    check_text(raw, max_depth)
    # First, so that what it builds, which may be as large as the value, is gone when the value is made.
    check_strictly(raw)
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise shapes.explain(error, kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.MalformedBody("The body is not JSON.") from None


def check_text(raw: bytes, max_depth: int = _MAX_DEPTH) -> None:
    """What can be told cheaply: not empty, UTF-8, not nested too deep. Raises errors.MalformedBody."""
    if not raw:
        raise errors.MalformedBody("The body is empty.")
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError:
            raise errors.MalformedBody("The body is not UTF-8.") from None
    if nesting.deeper_than(raw, max_depth):
        raise errors.MalformedBody(f"The body nests deeper than {max_depth}, or its brackets do not match.")


def check_strictly(raw: bytes) -> None:
    """The exact and slow check, for what msgspec lets pass or words badly.

    Raises errors.MalformedBody (syntax, NaN, a repeated key) and errors.BadInput (half a
    surrogate pair, an integer of thousands of digits). The body must have passed check_text.
    """
    try:
        json.loads(raw.decode(), object_pairs_hook=_once_each, parse_constant=_no_constant, parse_float=str)
    except json.JSONDecodeError:
        raise errors.MalformedBody("The body is not JSON.") from None
    except RecursionError:
        raise errors.MalformedBody("The body nests too deep.") from None
    except ValueError:
        raise errors.BadInput("The body holds an integer with too many digits.") from None
    if b"\\u" in raw and _has_lone_surrogate(raw):
        raise errors.BadInput("A text of the body holds half of a surrogate pair.")


def check_around(raw: bytes, parts: Sequence[memoryview]) -> None:
    """``check_strictly`` without a look into ``parts``, arrays of the body in order, which others judge.

    Takes time in proportion to the rest; where they do not stand in order, as with a repeated key, all of it is
    looked into. Raises errors.MalformedBody and errors.BadInput.
    """
    rest: list[bytes] = []
    end = 0
    for part in map(bytes, parts):
        if len(part) > _SHORT:
            # Where the same array stands before this one too, what is left is as good or bad as it was.
            start = raw.find(part, end)
            if start < 0:
                check_strictly(raw)
                return
            rest += (raw[end:start], b"0")
            end = start + len(part)
    check_strictly(b"".join((*rest, raw[end:])))


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise errors.MalformedBody("An object of the body has the same key twice.")
    return members


def _no_constant(_text: str) -> None:
    raise errors.MalformedBody("NaN and Infinity are not JSON; leave the cell null.")


def _has_lone_surrogate(raw: bytes) -> bool:
    try:
        json.dumps(json.loads(raw), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer of a struct, a dictionary or a list."""
    return Response(msgspec.json.encode(value), status, headers, JSON)
