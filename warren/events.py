"""A job's event stream, line by line: Server-Sent Events as the gateway writes them.

Between a streamed answer and ``Job.events``. A comment says that the
gateway is well and that nothing has happened for a while.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from warren import errors
from warren.answers import Event

SILENCE_S = 30.0
"""Seconds without a byte after which a stream counts as broken; the gateway writes every 10 s."""


class Parser:
    """Takes lines, gives events.

    ``last_id`` is what to send as Last-Event-ID after a break; ``complete``: the gateway has said
    that nothing will follow; ``heard``: this connection has brought a new event, or has lived so long
    that a comment came.
    """

    def __init__(self, last_id: int = 0) -> None:
        """``last_id``: the number of the last event that is known already."""
        self.last_id = last_id
        self.complete = False
        self.heard = False
        self._fields: dict[str, str] = {}

    def start(self) -> None:
        """A new connection: half an event of the one before counts for nothing."""
        self._fields = {}
        self.heard = False

    def headers(self) -> dict[str, str]:
        """What to send so that the stream goes on where it broke off."""
        found = {"accept": "text/event-stream"}
        return {**found, "last-event-id": str(self.last_id)} if self.last_id else found

    def take(self, line: str) -> Iterator[Event]:
        """The event that a line completes, if it does. Raises errors.UnexpectedAnswer."""
        if line:
            name, _, value = line.partition(":")
            if name:
                self._fields[name] = value.removeprefix(" ")
            else:
                self.heard = True
            return
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return
        try:
            number = int(fields.get("id", "0"))
            event = Event(number, fields.get("event", "message"), msgspec.json.decode(fields["data"], type=dict))
        except ValueError as error:
            raise errors.UnexpectedAnswer("The event stream cannot be read.") from error
        if number > self.last_id:
            self.last_id, self.heard = number, True
            yield event
