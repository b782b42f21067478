"""Holds the published ports: the service ``door``, the one container that is never rolled.

Between the engine, which publishes a port to one container, and Nginx, which comes and goes. The door
opens the listening sockets and gives them to every Nginx that asks through a Unix socket in a volume;
old and new Nginx accept from the same queue, so no connection falls between them, and one that arrives
while there is no Nginx waits. No byte of a request passes here. A file of its own, standard library
only, so that its image changes about never.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path

ADDRESS = Path("/run/door/door.sock")
"""Where Nginx asks; the folder is a volume that only Nginx and the door mount."""

PORTS = (8080, 8443, 8082, 8444)
"""HTTP and gRPC, each with TLS for whoever turns it on; Nginx closes what its configuration has no use for."""

ASKED = b"?"
"""What Nginx sends to be given the sockets; whoever only connects (the health check) gets nothing."""

_BACKLOG = 1024
_ALONE_S = 10.0
_LOOK_S = 1.0
_CHECK_S = 4.0


class Door:
    """The listening sockets, and the connections of those who use them."""

    def __init__(self, address: Path, ports: tuple[int, ...]) -> None:
        self._ports = ports
        self._listeners: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._guests: set[socket.socket] = set()
        address.unlink(missing_ok=True)
        self._entrance = socket.socket(socket.AF_UNIX)
        self._entrance.bind(str(address))
        # Nginx is another user; nobody else mounts the folder.
        address.chmod(0o666)
        self._entrance.listen()
        self._selector.register(self._entrance, selectors.EVENT_READ)

    def serve(self, told_to_stop: socket.socket) -> None:
        """Give the sockets to whoever asks, until there is something to read from ``told_to_stop``."""
        self._selector.register(told_to_stop, selectors.EVENT_READ)
        attended = time.monotonic()
        while True:
            ready = [key.fileobj for key, _ in self._selector.select(_LOOK_S)]
            if told_to_stop in ready:
                self._selector.unregister(told_to_stop)
                return
            for one in ready:
                self._answer(one)
            if self._guests:
                attended = time.monotonic()
            elif time.monotonic() - attended > _ALONE_S:
                # Better refused than left to wait for an Nginx that does not come.
                self._close_listeners()

    def drain(self) -> None:
        """Refuse new connections, and wait for every Nginx to finish what it has.

        The sockets are the same ones in every Nginx, so shutting them here ends them there.
        """
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
        for guest in self._guests:
            with contextlib.suppress(OSError):
                guest.shutdown(socket.SHUT_WR)
        while self._guests:
            for key, _ in self._selector.select():
                self._answer(key.fileobj)
        self._close_listeners()
        for one in [key.fileobj for key in self._selector.get_map().values()]:
            self._leave(one)
        self._selector.close()

    def _answer(self, ready: object) -> None:
        assert isinstance(ready, socket.socket)
        if ready is self._entrance:
            guest, _ = self._entrance.accept()
            guest.setblocking(False)
            self._selector.register(guest, selectors.EVENT_READ)
            return
        try:
            if ready.recv(1) == ASKED:
                self._open_listeners()
                self._guests.add(ready)
                socket.send_fds(ready, [b"!"], [one.fileno() for one in self._listeners])
                return
        except OSError:
            pass
        self._leave(ready)

    def _leave(self, one: object) -> None:
        assert isinstance(one, socket.socket)
        self._selector.unregister(one)
        self._guests.discard(one)
        one.close()

    def _open_listeners(self) -> None:
        if not self._listeners:
            self._listeners = [socket.create_server(("", port), backlog=_BACKLOG) for port in self._ports]
            for listener in self._listeners:
                listener.setblocking(False)

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []


def check(address: Path) -> int:
    """The health check: 0 when the door takes connections of Nginx."""
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(_CHECK_S)
            asking.connect(str(address))
    except OSError as error:
        sys.stderr.write(f"{address}: {error}\n")
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """``check``, or without an argument the service itself, until SIGTERM."""
    if arguments == ["check"]:
        return check(ADDRESS)
    hears, tells = socket.socketpair()
    tells.setblocking(False)
    signal.set_wakeup_fd(tells.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    door = Door(ADDRESS, PORTS)
    door.serve(hears)
    door.drain()
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
