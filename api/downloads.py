"""A version's file on its way to a person: asked of predictors piece by piece, streamed out.

Between ``GET …/files/{file}`` and the predictors. At most one piece is in memory. The digest is
checked before the last piece is sent, so a file that is not what its manifest says never
arrives whole: the connection ends short of the declared length.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from starlette.responses import Response, StreamingResponse

from wire import errors, logs, messages, topology
from wire.async_client import AsyncRpcClient
from wire.deadlines import Deadline

FILES: Final = ("model.onnx", "model.skops", "model.joblib")
"""What can be downloaded."""
PIECE_BYTES: Final = 1024 * 1024
"""Bytes of one piece; in JSON 1.4 MB, far below the broker's limit of 12 MiB."""
PIECE_S: Final = 10.0
"""Seconds one piece may take; the first one has its whole file verified."""


class BrokenOff(Exception):
    """A download that cannot go on; its answer has begun, so its connection has to end."""


class Wanted(NamedTuple):
    """Which file of which version."""

    model: str
    version: int
    file: str


def check_file(file: str) -> None:
    """Refuse names that are no file of ours. Raises errors.NotFound."""
    if file not in FILES:
        raise errors.NotFound("There is no such file.", hint=f"One of {', '.join(FILES)}.")


async def stream(rpc: AsyncRpcClient, wanted: Wanted, request_id: str) -> Response:
    """The answer that streams a file. Raises what the first piece's RPC raises."""
    first = await _piece(rpc, wanted, 0, request_id)
    try:
        digest = base64.b64encode(bytes.fromhex(first.sha256)).decode()
    except ValueError as error:
        raise errors.InternalError("a digest that is not hexadecimal") from error
    headers = {
        "content-length": str(first.total_bytes),
        "repr-digest": f"sha-256=:{digest}:",
        "content-disposition": f'attachment; filename="{wanted.file}"',
        "etag": f'"{first.sha256}"',
    }
    pieces = _pieces(rpc, wanted, first, request_id)
    return StreamingResponse(pieces, 200, headers, "application/octet-stream")


async def _pieces(
    rpc: AsyncRpcClient, wanted: Wanted, first: messages.FilePiece, request_id: str
) -> AsyncIterator[bytes]:
    """The bytes of a file. Raises BrokenOff."""
    digest = hashlib.sha256()
    piece, sent = first, 0
    while sent + len(piece.data) < first.total_bytes:
        if not piece.data or piece.sha256 != first.sha256:
            raise _broken_off(wanted)
        digest.update(piece.data)
        sent += len(piece.data)
        yield piece.data
        try:
            piece = await _piece(rpc, wanted, sent, request_id)
        except errors.WarrenError as error:
            raise BrokenOff from error
    digest.update(piece.data)
    if sent + len(piece.data) != first.total_bytes or digest.hexdigest() != first.sha256:
        raise _broken_off(wanted)
    yield piece.data


def _broken_off(wanted: Wanted) -> BrokenOff:
    logs.log("model.corrupt", level="ERROR", model=wanted.model, version=wanted.version, file=wanted.file)
    return BrokenOff("The file is not what its manifest says.")


async def _piece(rpc: AsyncRpcClient, wanted: Wanted, offset: int, request_id: str) -> messages.FilePiece:
    message = messages.ReadFile(
        model=wanted.model, version=wanted.version, file=wanted.file, offset=offset, size_bytes=PIECE_BYTES
    )
    deadline = Deadline.after(PIECE_S)
    return await rpc.call(topology.MODELS, message, messages.FilePiece, deadline=deadline, request_id=request_id)
