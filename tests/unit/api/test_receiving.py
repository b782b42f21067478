"""Uploads on their way to the disk: what breaks leaves nothing behind."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from api import refusals
from api.datasets import formats, receiving
from wire import errors


def left(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def body(*pieces: bytes | Exception) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece


async def test_body_is_written_and_hashed(tmp_path: Path) -> None:
    big = b"x" * (receiving.PIECE_BYTES + 1)
    received = await receiving.receive(body(b"head", big, b"tail"), tmp_path / "d", limit_bytes=10**9)
    assert received.draft.read_bytes() == b"head" + big + b"tail"
    assert (received.head[:4], received.tail[-4:], received.size_bytes) == (b"head", b"tail", len(big) + 8)


@pytest.mark.parametrize("failure", [ClientDisconnect(), ValueError("a defect")], ids=["left", "defect"])
async def test_body_that_breaks_off_leaves_no_file(tmp_path: Path, failure: Exception) -> None:
    expected = errors.MalformedBody if isinstance(failure, ClientDisconnect) else ValueError
    with pytest.raises(expected):
        await receiving.receive(body(b"half", failure), tmp_path / "d", limit_bytes=99)
    assert left(tmp_path) == []


async def test_client_that_says_nothing_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "IDLE_S", 0.05)

    async def silent() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    with pytest.raises(errors.MalformedBody):
        await receiving.receive(silent(), tmp_path / "d", limit_bytes=99)
    assert left(tmp_path) == []


async def test_too_much_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(errors.TooLarge):
        await receiving.receive(body(b"12345", b"67890"), tmp_path / "d", limit_bytes=9)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, errors.StorageFull), (errno.EDQUOT, errors.StorageFull), (errno.EIO, OSError)],
)
@pytest.mark.parametrize("step", ["write", "flush"])
async def test_disk_that_fails_leaves_no_file(
    tmp_path: Path, number: int, expected: type[Exception], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            if name == step:
                raise OSError(number, "the disk")
            return getattr(self._file, name)

    class OnBadDisk(receiving.Draft):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self._file = Failing(self._file)  # type: ignore[assignment]

    monkeypatch.setattr(receiving, "Draft", OnBadDisk)
    with pytest.raises(expected):
        await receiving.receive(body(b"a,b\n"), tmp_path / "d", limit_bytes=99)
    assert left(tmp_path) == []


def test_compressed_uploads_are_refused() -> None:
    with pytest.raises(refusals.UnsupportedMedia):
        formats.declared("text/csv", "gzip")
    assert formats.declared("Text/CSV; charset=utf-8", "identity") == "csv"
