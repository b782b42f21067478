"""Take an upload: from the socket to a synced file, hashed on the way, never whole in memory.

Between a request's body and the datasets folder. The event loop only passes pieces on; writing
and hashing are done in threads, a megabyte at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect

from api.datasets.files import needing_room
from wire import errors

PIECE_BYTES = 1024 * 1024
"""How much is collected before a thread writes it: large enough to be cheap, small enough to be flat."""
IDLE_S = 30.0
"""Seconds a client may send nothing before its upload is dropped."""
UPLOAD_S = 3600.0
"""Seconds an upload may take in all."""
_EDGE_BYTES = 64
_THREADS = 8


class Received(NamedTuple):
    """A complete upload: its synced draft, its size and hash, and its first and last bytes."""

    draft: Path
    size_bytes: int
    sha256: str
    head: bytes
    tail: bytes


class Draft:
    """A file being written; every method blocks."""

    def __init__(self, path: Path) -> None:
        """Raises errors.StorageFull."""
        self.path = path
        with needing_room():
            self._file = path.open("xb")
        self._hash = hashlib.sha256()
        self._size = 0
        self._head = b""
        self._tail = b""

    def write(self, piece: bytes) -> None:
        """Append. Raises errors.StorageFull."""
        with needing_room():
            self._file.write(piece)
        self._hash.update(piece)
        self._size += len(piece)
        self._head = self._head or piece[:_EDGE_BYTES]
        self._tail = (self._tail + piece[-_EDGE_BYTES:])[-_EDGE_BYTES:]

    def finish(self) -> Received:
        """Sync to the disk and close. Raises errors.StorageFull."""
        with needing_room():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return Received(self.path, self._size, self._hash.hexdigest(), self._head, self._tail)

    def drop(self) -> None:
        """Close and remove, whatever the disk says."""
        with contextlib.suppress(OSError):  # what is still buffered need not be written
            self._file.close()
        self.path.unlink(missing_ok=True)


_limiters: dict[asyncio.AbstractEventLoop, anyio.CapacityLimiter] = {}


def _limiter() -> anyio.CapacityLimiter:
    # Uploads get threads of their own, so that many of them cannot hold up the ledger's.
    loop = asyncio.get_running_loop()
    if loop not in _limiters:
        _limiters.clear()
        _limiters[loop] = anyio.CapacityLimiter(_THREADS)
    return _limiters[loop]


async def receive(body: AsyncIterator[bytes], path: Path, *, limit_bytes: int) -> Received:
    """Write a body to ``path`` and sync it; on any failure the file is gone.

    Raises errors.TooLarge, errors.MalformedBody (it ended early or came too slowly) and
    errors.StorageFull.
    """
    draft = await anyio.to_thread.run_sync(Draft, path, limiter=_limiter())
    try:
        async with asyncio.timeout(UPLOAD_S):
            await _write_all(body, draft, limit_bytes)
            return await anyio.to_thread.run_sync(draft.finish, limiter=_limiter())
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(draft.drop)
        if isinstance(error, ClientDisconnect | TimeoutError):
            raise errors.MalformedBody("The upload ended too early or came too slowly.") from error
        raise


async def _write_all(body: AsyncIterator[bytes], draft: Draft, limit_bytes: int) -> None:
    pieces, waiting, size = [], 0, 0
    async for piece in _unhurried(body):
        size += len(piece)
        if size > limit_bytes:
            raise errors.TooLarge(f"The dataset is larger than {limit_bytes} bytes.")
        pieces.append(piece)
        waiting += len(piece)
        if waiting >= PIECE_BYTES:
            await anyio.to_thread.run_sync(draft.write, b"".join(pieces), limiter=_limiter())
            pieces, waiting = [], 0
    if pieces:
        await anyio.to_thread.run_sync(draft.write, b"".join(pieces), limiter=_limiter())


async def _unhurried(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, each within its time."""
    pieces = aiter(body)
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        yield piece
