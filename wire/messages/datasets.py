"""What a replica or a worker asks a trainer about an upload, and the profile it gets back."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from wire.messages.envelope import Message


class InspectRequest(Message, frozen=True, kw_only=True):
    """Profile an uploaded dataset."""

    TYPE: ClassVar[str] = "dataset.inspect"
    dataset_id: str
    request_id: str = ""


class MoreThan(msgspec.Struct, frozen=True):
    """A count known only to be larger than ``more_than``."""

    more_than: int


class ColumnProfile(msgspec.Struct, frozen=True):
    """One column: its type (number, text, boolean, date), missing cells and distinct values."""

    name: str
    type: Literal["number", "text", "boolean", "date"]
    missing: int
    distinct: int | MoreThan


class DatasetProfile(Message, frozen=True, kw_only=True):
    """What a dataset holds."""

    TYPE: ClassVar[str] = "dataset.profile"
    rows: int
    columns: tuple[ColumnProfile, ...]
