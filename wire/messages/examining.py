"""What a replica asks a predictor and a trainer in a diagnosis, and how they are."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from wire.messages.envelope import Message


class Examine(Message, frozen=True, kw_only=True):
    """Replica to a predictor or the trainer in charge of changes: tell how you are."""

    TYPE: ClassVar[str] = "process.examine"


class VolumeState(msgspec.Struct, frozen=True):
    """The model volume as a process sees it; ``free_bytes`` are those it may still fill."""

    readable: bool
    writable: bool
    free_bytes: int
    size_bytes: int


class Examined(Message, frozen=True, kw_only=True):
    """Its name, its wall clock (milliseconds since 1970), the code it runs, and the model volume."""

    TYPE: ClassVar[str] = "process.examined"
    process: str
    at_ms: int
    build: str
    volume: VolumeState
    libraries: dict[str, str] = {}
