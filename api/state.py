"""What a replica has while it runs, and how its routes get it.

Made in the application's lifespan, handed to every route as ``StateDep``; ``CallerDep`` is who
asks. Every route depends on ``current_caller``, whether it uses the caller or not, so that none
is open that ``api.keys.policies`` doesn't open.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from api.keys.callers import ANY, LOCAL, NOBODY, SCOPES, Caller
from api.keys.keyring import Keyring
from api.keys.policies import policy_of
from api.keys.trail import Trail
from api.ledger import Ledger
from api.predict.coalescer import Coalescer
from api.presence import Consumers
from wire.async_client import AsyncRpcClient
from wire.settings import Settings

__all__ = ["LOCAL", "SCOPES", "Caller", "CallerDep", "State", "StateDep", "current_caller", "current_state"]


@dataclass
class State:
    """A running replica: its settings, its connection, its ledger, its batches.

    ``stopping`` is set when the process is told to end, before connections are drained: long
    answers (event streams) watch it and end by themselves. ``migrated`` is set once the ledger
    has its newest schema; ``unprepared`` says what it is until then. ``consumers`` tells whether
    anybody serves a queue. ``keyring`` knows who may call, ``trail`` keeps who changed what.
    """

    settings: Settings
    rpc: AsyncRpcClient
    ledger: Ledger
    coalescer: Coalescer
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    migrated: asyncio.Event = field(default_factory=asyncio.Event)
    unprepared: str = "is not prepared yet"
    consumers: Consumers = field(init=False)
    keyring: Keyring = field(init=False)
    trail: Trail = field(init=False)

    def __post_init__(self) -> None:
        """Make what follows from the rest."""
        self.consumers = Consumers(self.rpc)
        self.keyring = Keyring(self.settings, self.ledger.keys, self.migrated)
        self.trail = Trail(self.ledger.audit)


async def current_state(request: Request) -> State:
    """The state of the replica that serves this request."""
    state: State = request.app.state.gateway
    return state


async def current_caller(request: Request) -> Caller:
    """Who sent this request, if it may make this call.

    Raises errors.Unauthenticated, errors.Forbidden, refusals.RateLimited and errors.LedgerUnavailable.
    """
    keyless = request.app.predictions.keyless
    needed = policy_of(request.method, request.scope["route"].path)
    if needed == "open":
        return NOBODY if keyless is None else LOCAL
    if keyless is not None:
        keyless.check(dict(request.scope["headers"]))
        return LOCAL
    state = await current_state(request)
    return await state.keyring.ask(dict(request.scope["headers"]), ANY if needed == "any" else needed)


StateDep = Annotated[State, Depends(current_state)]
"""A route's parameter that is the replica's state."""
CallerDep = Annotated[Caller, Depends(current_caller)]
"""A route's parameter that is the caller."""
