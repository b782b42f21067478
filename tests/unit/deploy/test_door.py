"""The door of the containers: who asks gets the listening sockets, and they outlive whoever used them."""

import array
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.compose import door
from tests.rabbit import wait_until


class Running:
    """A door on a free port, in a thread, until it is told to stop."""

    def __init__(self, folder: Path) -> None:
        self.address = folder / "door.sock"
        self.port = _free_port()
        self._door = door.Door(self.address, (self.port,))
        self._hears, self._tells = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._door.serve(self._hears)
        self._door.drain()

    def ask(self) -> tuple[socket.socket, socket.socket]:
        """A guest's connection, and the listening socket it was given."""
        guest = socket.socket(socket.AF_UNIX)
        guest.settimeout(5)
        guest.connect(str(self.address))
        guest.sendall(door.ASKED)
        _, ancillary, *_ = guest.recvmsg(1, socket.CMSG_SPACE(64))
        [(_, _, given)] = ancillary
        listener = socket.socket(fileno=array.array("i", given[:4])[0])
        # It does not block, and a connection may be in its queue only after connect() has returned.
        listener.settimeout(5)
        return guest, listener

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def refused(self) -> bool:
        try:
            self.connect().close()
        except (ConnectionRefusedError, ConnectionResetError):  # reset: closed with this one in its queue
            return True
        return False

    def stop(self) -> None:
        self._tells.send(b"x")

    def close(self) -> None:
        self._hears.close()
        self._tells.close()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as asking:
        return int(asking.getsockname()[1])


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    one = Running(tmp_path)
    yield one
    one.stop()
    wait_until(lambda: one.ended, "the door has ended", 5)
    one.close()


def test_two_guests_accept_from_one_queue(running: Running) -> None:
    old, first = running.ask()
    new, second = running.ask()
    with old, new, second, running.connect() as before:
        first.close()
        accepted, _ = second.accept()
        assert accepted.getpeername() == before.getsockname(), "what came before the first one went"
        accepted.close()


def test_a_connection_waits_while_no_guest_is_there(running: Running) -> None:
    guest, given = running.ask()
    guest.close()
    given.close()
    with running.connect() as waiting:
        later, again = running.ask()
        with later, again:
            accepted, _ = again.accept()
            assert accepted.getpeername() == waiting.getsockname()
            accepted.close()


def test_connections_are_refused_before_the_first_guest_and_when_none_comes_back(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running.refused()
    monkeypatch.setattr(door, "_ALONE_S", 0.0)
    monkeypatch.setattr(door, "_LOOK_S", 0.01)
    guest, given = running.ask()
    with guest:
        running.connect().close()
    given.close()
    wait_until(running.refused, "nobody is left to wait", 5)
    guest, given = running.ask()
    with guest, given:
        running.connect().close()


def test_a_stopping_door_refuses_at_once_and_waits_for_its_guests(running: Running) -> None:
    guest, given = running.ask()
    with given:
        running.stop()
        assert guest.recv(1) == b"", "the guest is told"
        assert running.refused(), "although the guest still holds the socket"
        assert not running.ended
        guest.close()
        wait_until(lambda: running.ended, "the door has ended", 5)


def test_the_health_check_connects_and_is_no_guest(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert door.check(running.address) == 0
    assert running.refused(), "nobody asked for the sockets"
    assert door.check(running.address.with_name("elsewhere")) == 1
    assert "elsewhere" in capsys.readouterr().err
