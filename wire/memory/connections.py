"""Connections to the broker in memory, with the part of pika's interface that wire uses.

Between wire's links and the channels of wire.memory. Each belongs to the event loop it was made
on, so several loops in several threads may share a broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from pika import exceptions

from wire.memory.channels import MemoryChannel

if TYPE_CHECKING:
    from wire.memory import MemoryBroker

_Callback = Callable[..., object]


class MemoryConnection:
    """A connection: opens soon, or fails soon when the broker is down."""

    def __init__(
        self, broker: MemoryBroker, name: str, on_open: _Callback, on_open_error: _Callback, on_close: _Callback
    ) -> None:
        self.broker = broker
        self.name = name
        self.is_open = False
        self.is_closing = False
        self.is_closed = False
        self.channels: list[MemoryChannel] = []
        self.loop = asyncio.get_running_loop()
        self.on_blocked: _Callback = _ignore
        self.on_unblocked: _Callback = _ignore
        self.held: list[Callable[[], None]] = []
        self._on_open = on_open
        self._on_open_error = on_open_error
        self._on_close = on_close
        self.loop.call_soon(self._finish_opening)

    def soon(self, callback: _Callback, *args: object) -> None:
        """Run a callback on this connection's loop; dropped when that loop has ended."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(callback, *args)

    def channel(self, on_open_callback: _Callback) -> MemoryChannel:
        """Open a channel."""
        channel = MemoryChannel(self)
        self.channels.append(channel)
        self.soon(on_open_callback, channel)
        return channel

    def add_on_connection_blocked_callback(self, callback: _Callback) -> None:
        """Tell of an alarm."""
        self.on_blocked = callback

    def add_on_connection_unblocked_callback(self, callback: _Callback) -> None:
        """Tell of its end."""
        self.on_unblocked = callback

    def close(self) -> None:
        """Close, orderly."""
        self.is_closing = True
        self.soon(self.lose, exceptions.ConnectionClosedByClient(200, "Normal shutdown"))

    def abort(self) -> None:
        """Close, at once."""
        self.close()

    def lose(self, error: Exception) -> None:
        """End, on this connection's loop, for whatever reason."""
        if self.is_closed:
            return
        was_open, self.is_open, self.is_closed = self.is_open, False, True
        with self.broker.lock:
            for channel in tuple(self.channels):
                channel.end(error)
            self.broker.forget(self)
        (self._on_close if was_open else self._on_open_error)(self, error)

    def _finish_opening(self) -> None:
        if self.is_closing:
            return
        if self.broker.down:
            self.is_closed = True
            self._on_open_error(self, exceptions.AMQPConnectionError("the broker is down"))
            return
        self.is_open = True
        self.broker.connections.append(self)
        self._on_open(self)


def _ignore(*_args: object) -> None:
    """Nobody asked to be told."""
