"""Connections to PostgreSQL over the network: what the kernel is told about a host that is gone."""

from __future__ import annotations

import socket
import threading

import psycopg
import pytest
from sqlalchemy import event

from api.ledger.database import make_engine
from wire import settings

WELCOME = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
"""What a server says to whom it trusts: authenticated, and ready for a query."""


def test_a_host_that_is_gone_is_noticed_within_half_a_minute() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = (
            f"postgresql+psycopg://warren@127.0.0.1:{server.getsockname()[1]}/warren?sslmode=disable&gssencmode=disable"
        )
        engine = make_engine(settings.Ledger(url=url))
        opened: list[psycopg.Connection] = []

        class Seen(Exception):
            pass

        @event.listens_for(engine, "do_connect")
        def connect(_dialect: object, _record: object, arguments: list[str], given: dict[str, object]) -> None:
            opened.append(psycopg.connect(*arguments, **given))  # type: ignore[arg-type]
            raise Seen

        greeter = threading.Thread(target=_greet, args=(server,), daemon=True)
        greeter.start()
        with pytest.raises(Seen):
            engine.connect()
        with socket.socket(fileno=socket.dup(opened[0].pgconn.socket)) as seen:
            level = socket.IPPROTO_TCP
            assert seen.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle_s, between_s, count = (
                seen.getsockopt(level, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert idle_s + between_s * count <= 30
            assert seen.getsockopt(level, socket.TCP_USER_TIMEOUT) == 5_000
        opened[0].close()
        greeter.join(5)


def _greet(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(WELCOME)
        connection.recv(1024)
