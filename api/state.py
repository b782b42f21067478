"""What a replica has while it runs, and how its routes get it.

Made in the application's lifespan, handed to every route as ``StateDep``; ``CallerDep`` is who
asks. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from api.ledger import Ledger
from api.predict.coalescer import Coalescer
from api.presence import Consumers
from wire.async_client import AsyncRpcClient
from wire.settings import Settings

SCOPES = frozenset({"predict", "train", "admin"})
"""Everything a caller may be allowed."""


@dataclass
class State:
    """A running replica: its settings, its connection, its ledger, its batches.

    ``stopping`` is set when the process is told to end, before connections are drained: long
    answers (event streams) watch it and end by themselves. ``migrated`` is set once the ledger
    has its newest schema. ``consumers`` tells whether anybody serves a queue.
    """

    settings: Settings
    rpc: AsyncRpcClient
    ledger: Ledger
    coalescer: Coalescer
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    migrated: asyncio.Event = field(default_factory=asyncio.Event)
    consumers: Consumers = field(init=False)

    def __post_init__(self) -> None:
        """Make what follows from the rest."""
        self.consumers = Consumers(self.rpc)


@dataclass(frozen=True)
class Caller:
    """Who asks: the owner's name and what it may do."""

    owner: str
    scopes: frozenset[str]

    @property
    def sees(self) -> str | None:
        """Whose jobs and datasets this caller sees: its own; None, everybody's, for an admin."""
        return None if "admin" in self.scopes else self.owner


LOCAL = Caller("local", SCOPES)
"""Everybody, on a gateway that listens on loopback only and needs no key."""


def current_state(request: Request) -> State:
    """The state of the replica that serves this request."""
    state: State = request.app.state.gateway
    return state


def current_caller() -> Caller:
    """Who sent this request."""
    return LOCAL


StateDep = Annotated[State, Depends(current_state)]
"""A route's parameter that is the replica's state."""
CallerDep = Annotated[Caller, Depends(current_caller)]
"""A route's parameter that is the caller."""
