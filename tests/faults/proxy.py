"""A TCP proxy whose line can be cut, slowed, reset or left half open, between a process and the broker."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from typing import Literal

Mode = Literal["pass", "drop", "half-open", "refuse"]
"""``drop``: nothing passes either way while connections stay (a silent partition); ``half-open``: nothing that
the server sends passes; ``refuse``: new connections are reset."""

_RESET = struct.pack("ii", 1, 0)
_BLOCK_BYTES = 65_536


class Proxy:
    """Listens on a port of its own and passes on to ``host:port``; runs in a thread until ``close``."""

    def __init__(self, host: str, port: int, seed: int = 0) -> None:
        self._to = (host, port)
        self.delay_s = 0.0
        """Seconds every block waits, plus or minus half of them."""
        self.connections = 0
        """How many were accepted so far."""
        self._random = random.Random(seed)
        self._open: set[asyncio.StreamWriter] = set()
        self._refusing = False
        self._forth, self._back = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]

        self.set("pass")

    def set(self, mode: Mode) -> None:
        """From now on; ``pass`` lets go on what was held back."""
        asyncio.run_coroutine_threadsafe(self._set(mode), self._loop).result(10)

    async def _set(self, mode: Mode) -> None:
        self._refusing = mode == "refuse"
        for event, lost in ((self._forth, ("drop",)), (self._back, ("drop", "half-open"))):
            if mode in lost:
                event.clear()
            else:
                event.set()

    def reset(self) -> None:
        """End every connection with a TCP reset."""
        asyncio.run_coroutine_threadsafe(self._reset(), self._loop).result(10)

    def close(self) -> None:
        """Listen no more and end what is open. Closing twice is harmless."""
        if self._thread.is_alive():
            self.reset()
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _end(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _reset(self) -> None:
        for writer in list(self._open):
            _abort(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when the proxy closes, which asyncio's own callback would report as an error.
        with contextlib.suppress(asyncio.CancelledError):
            await self._pass(reader, writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refusing:
            _abort(writer)
            return
        try:
            # A partition lets no handshake through.
            await self._back.wait()
            there, back = await asyncio.open_connection(*self._to)
        except OSError:
            _abort(writer)
            return
        self._open |= {writer, back}
        try:
            await asyncio.gather(self._pump(reader, back, self._forth), self._pump(there, writer, self._back))
        finally:
            self._open -= {writer, back}
            for one in (writer, back):
                one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(_BLOCK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s * self._random.uniform(0.5, 1.5))
                # As with TCP on a cut line: what was sent arrives once the line is back, if anybody still waits.
                await line.wait()
                writer.write(block)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()


def _abort(writer: asyncio.StreamWriter) -> None:
    one = writer.get_extra_info("socket")
    if one is not None:
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
