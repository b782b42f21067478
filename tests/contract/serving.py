"""Servers of the contract's tests, and the wait for what is in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire import messages
from wire.async_client import AsyncRpcClient
from wire.deadlines import Deadline
from wire.server import Request

if TYPE_CHECKING:
    from tests.contract.conftest import Bench


def listed(request: Request) -> messages.Message:
    messages.ListModels.decode(request.body)
    return messages.ModelList(models=())


def serving(bench: Bench, queue: str, handler: object, **options: int) -> None:
    server = bench.server()
    server.serve(queue, handler, **({"prefetch": 2} | options))  # type: ignore[arg-type]
    bench.start(server)


async def until_ready(client: AsyncRpcClient, queue: str, count: int) -> None:
    """Wait until this many messages are ready in a queue."""
    deadline = Deadline.after(15)
    while (await client.queue_state(queue)).messages != count:
        assert not deadline.expired, f"{queue} never had {count} messages ready"
