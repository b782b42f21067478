"""What every message has: the schema version and the two directions of its codec; and the failure."""

from __future__ import annotations

from typing import ClassVar, Self

import msgspec

from wire import errors

SCHEMA = 1
"""The wire format's version. A reader refuses what it cannot read; it never guesses."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What every message has: the schema version, and the two directions of its codec."""

    TYPE: ClassVar[str] = ""
    schema: int = SCHEMA

    def encode(self) -> bytes:
        """The JSON body to publish."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read a body.

        Raises errors.MalformedBody when it is not this message or of another schema version.
        """
        try:
            message = msgspec.json.decode(body, type=cls)
        # ValueError: msgspec's own errors are among them, and so is a string that is not UTF-8.
        except (ValueError, RecursionError) as error:
            raise errors.MalformedBody(f"not a {cls.TYPE} message") from error
        if message.schema != SCHEMA:
            raise errors.MalformedBody(f"wire schema {message.schema} is not {SCHEMA}")
        return message


class Failure(Message, frozen=True, kw_only=True):
    """Any server to its requester: the answer is an error."""

    TYPE: ClassVar[str] = "failure"
    error: errors.ErrorBody
