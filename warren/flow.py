"""Many pieces of work at once, their results in order, and never more than a few held: for bulk predictions.

Between an endless source and a sink that wants order. The source is read only as fast as results
are taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

W = TypeVar("W")
R = TypeVar("R")


def ordered(work: Iterable[W], do: Callable[[W], R], in_flight: int) -> Generator[R, None, None]:
    """``do`` of each piece, in the order of the pieces, ``in_flight`` of them at once on threads.

    What ``do`` raises is raised in its place; nothing is begun afterwards.
    """
    pool = ThreadPoolExecutor(max_workers=in_flight, thread_name_prefix="warren")
    waiting: deque[Future[R]] = deque()
    try:
        for piece in work:
            waiting.append(pool.submit(do, piece))
            if len(waiting) > in_flight:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def ordered_async(work: Iterable[W], do: Callable[[W], Awaitable[R]], in_flight: int) -> AsyncIterator[R]:
    """The same in an event loop, with a task for each piece."""
    waiting: deque[asyncio.Task[R]] = deque()
    try:
        for piece in work:
            waiting.append(asyncio.ensure_future(_awaited(do, piece)))
            if len(waiting) >= in_flight:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _awaited(do: Callable[[W], Awaitable[R]], piece: W) -> R:
    return await do(piece)
