"""The rows of a dataset on their way to predictors: a file of blocks in an offline prediction's draft.

Between a trainer, which reads the dataset and writes this file once, and the worker, which reads it
block by block. Each block is ready to be sent: its rows are JSON as a request's ``instances``.
Layout of a block (little-endian)::

    uint32 header length | header JSON | rows | carried

``carried`` is a JSON list of one text per row: its carried input columns, as CSV without the line's
end. Rows that cannot be read are not among ``rows``; the header says which, and why.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

import msgspec

from wire import errors

FILE: Final = "rows.blocks"
"""The file's name in a draft."""

HEADER_BYTES: Final = 16 * 1024 * 1024
"""Largest header anyone reads: a block of thousands of refused rows is a fraction of it."""

_LENGTH = struct.Struct("<I")
_QUOTED: Final = frozenset('",\r\n')


class Refused(msgspec.Struct, frozen=True, array_like=True):
    """A row of the block that cannot be read: its place from 0, and why."""

    row: int
    problem: str


class BlockHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many rows a block stands for, refused ones included, and how large its parts are."""

    rows: int
    rows_bytes: int
    carried_bytes: int = 0
    refused: tuple[Refused, ...] = ()


class Block(NamedTuple):
    """Rows of a dataset, in order; ``rows`` and ``carried`` are JSON, the latter empty where nothing is carried."""

    total: int
    rows: bytes
    carried: bytes = b""
    refused: tuple[Refused, ...] = ()

    @property
    def readable(self) -> int:
        """How many of its rows can be read."""
        return self.total - len(self.refused)


_decoder = msgspec.json.Decoder(BlockHeader)


def write(file: BinaryIO, block: Block) -> None:
    """Append a block. Raises OSError."""
    header = msgspec.json.encode(BlockHeader(block.total, len(block.rows), len(block.carried), block.refused))
    file.write(b"".join((_LENGTH.pack(len(header)), header, block.rows, block.carried)))


def read(file: BinaryIO) -> Iterator[Block]:
    """The blocks from here to the file's end. Raises errors.MalformedBody and OSError."""
    while start := file.read(_LENGTH.size):
        if len(start) < _LENGTH.size:
            raise _torn()
        (length,) = _LENGTH.unpack(start)
        if length > HEADER_BYTES:
            raise _torn()
        try:
            header = _decoder.decode(_exactly(file, length))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _torn() from error
        rows = _exactly(file, header.rows_bytes)
        yield Block(header.rows, rows, _exactly(file, header.carried_bytes), header.refused)


def quoted(text: str) -> str:
    """A cell as CSV: in quotation marks where the text needs them (RFC 4180) or its ends would be lost."""
    if _QUOTED.isdisjoint(text) and text == text.strip():
        return text
    return '"' + text.replace('"', '""') + '"'


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size) if size > 0 else b""
    if len(data) != size:
        raise _torn()
    return data


def _torn() -> errors.MalformedBody:
    return errors.MalformedBody("the file of rows is torn")
