"""The oracles of hostile clients: a second answer is seen, and so is every file that came, went or changed."""

from __future__ import annotations

import socket
import socketserver
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults.raw import Line
from tests.faults.tree import changes, tree


@pytest.mark.parametrize(("answers", "status"), [(1, 404), (2, 0)])
def test_a_second_answer_to_one_request_is_seen(answers: int, status: int) -> None:
    class Server(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" * answers)
            self.request.shutdown(socket.SHUT_WR)
            self.rfile.read()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        line = Line(f"http://127.0.0.1:{server.server_address[1]}")
        assert line.only_answer(b"GET /x HTTP/1.1\r\n\r\n").status == status
        server.shutdown()


def test_a_file_that_came_went_or_changed_is_seen_and_what_was_allowed_is_not(tmp_path: Path) -> None:
    home = tmp_path / "outside" / "home"
    stage: Any = SimpleNamespace(layout=SimpleNamespace(home=home))
    for folder in ("broker", "logs", "models/kept", "models/a"):
        (home / folder).mkdir(parents=True)
    for name in ("models/kept/changed", "models/kept/gone", "logs/grows", "logs/full.log"):
        (home / name).write_text("before")
    before = tree(stage)
    assert changes(before, tree(stage), ()) == []
    (home / "models/kept/gone").unlink()
    changed = ("models/kept/changed", "logs/grows", "logs/full.log.1")
    for name in (*changed, "models/a/new", "models/ab", "logs/new", "logs/new.log.1", "broker/own", "../up"):
        (home / name).write_text("after")
    assert changes(before, tree(stage), ["models/a"]) == [
        "../up came",
        "logs/new came",
        "logs/new.log.1 came",
        "models/ab came",
        "models/kept/changed is another",
        "models/kept/gone is gone",
    ]
