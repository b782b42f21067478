"""The real Nginx with the real configuration, in front of two scripted replicas."""

import contextlib
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, BinaryIO, cast

from deploy.native import nginx, ports
from deploy.native.layout import Layout
from tests.rabbit import wait_until

# Test processes run beside each other; each looks for ports of its own.
FIRST_PORT = 8320 + 10 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Frame-Options: SAMEORIGIN\r\n\r\nok"


class Replica:
    """Reads whole requests and answers each with ``answer``; with none it hangs up, as a killed one would."""

    def __init__(self, path: Path) -> None:
        self.answer: bytes | None = ANSWER
        self.requests: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while head := self._head(cast("BinaryIO", stream)):
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                body = stream.read(int(length[1])) if length else b""
                self.requests.append(head + body)
                if self.answer is None:
                    return
                connection.sendall(self.answer)

    @staticmethod
    def _head(stream: BinaryIO) -> bytes:
        lines = []
        while (line := stream.readline()) not in (b"", b"\r\n"):
            lines.append(line)
        return b"".join(lines)


class Edge:
    """A running Nginx and its two replicas."""

    def __init__(self, layout: Layout, replicas: list[Replica]) -> None:
        self.layout, self.replicas = layout, replicas

    def ask(self, *request: Any, **more: Any) -> tuple[int, dict[str, str], bytes]:
        """An answer to what ``ask_with_fields`` takes."""
        status, fields, content = self.ask_with_fields(*request, **more)
        return status, dict(fields), content

    def ask_with_fields(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        come_from: str = "127.0.0.1",
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """One request; its answer with every header as often as it came."""
        connection = HTTPConnection("127.0.0.1", self.layout.port, timeout=10, source_address=(come_from, 0))
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, [(name.lower(), value) for name, value in answer.getheaders()], answer.read()
        finally:
            connection.close()

    @property
    def requests(self) -> list[bytes]:
        return [request for replica in self.replicas for request in replica.requests]


@contextlib.contextmanager
def run(home: Path, **environment: str) -> Iterator[Edge]:
    port = next(port for port in range(FIRST_PORT, FIRST_PORT + 10) if not ports.taken(port))
    layout = Layout.from_environment({"WARREN_HOME": str(home), "WARREN_PORT": str(port), **environment})
    layout.create()
    nginx.write(layout, r"^\d{1,2}$")
    with (layout.logs / "nginx.log").open("wb") as log:
        process = subprocess.Popen(nginx.command(layout), stdout=log, stderr=log)
    replicas = [Replica(layout.replica_socket(number)) for number in (1, 2)]
    try:
        wait_until(lambda: ports.taken(port), "Nginx listens")
        yield Edge(layout, replicas)
    finally:
        for replica in replicas:
            replica.close()
        process.terminate()
        process.wait(10)
