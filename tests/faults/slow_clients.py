"""Many slow clients in a process of their own: ``python -m tests.faults.slow_clients <url> <count>``.

In the process that measures the others they would slow down the measuring. ``count`` send their headers a byte a
second, half as many a body so, and a fifth as many ask for a large answer and do not read it. It says ``begun`` once
all are connected, then in how many seconds the headers, and in how many the bodies, were cut off. Those who do not
read cannot see that they were; they are held until its input ends.
"""

from __future__ import annotations

import socket
import sys
import time

from tests.faults.raw import request
from tests.rabbit import wait_until

_TRICKLE_S = 4
_CUT_OFF_S = 15


def main(url: str, count: int) -> None:
    headers = [_begun(url, b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-A: ") for _ in range(count)]
    bodies = [_begun(url, request("POST", "/predict", b"x" * 9_000)[:-8_990]) for _ in range(count // 2)]
    readers = [_begun(url, request("GET", "/openapi.json", b"")) for _ in range(count // 5)]
    began = time.monotonic()
    _say(f"begun {len(headers) + len(bodies)}")
    for _ in range(_TRICKLE_S):
        for one in headers + bodies:
            _trickle(one)
        time.sleep(1)
    wait_until(lambda: all(map(_is_closed, headers)), "slow headers are cut off", _CUT_OFF_S, every_s=0.1)
    _say(f"{time.monotonic() - began:.1f}")
    wait_until(lambda: all(map(_is_closed, bodies)), "slow bodies are cut off", _CUT_OFF_S, every_s=0.1)
    _say(f"{time.monotonic() - began:.1f}")
    sys.stdin.read()
    for one in (*headers, *bodies, *readers):
        one.close()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _begun(url: str, content: bytes) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    one = socket.create_connection((host, int(port)), 10)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    one.sendall(content)
    return one


def _trickle(one: socket.socket) -> None:
    try:
        one.send(b"a", socket.MSG_DONTWAIT)
    except OSError:
        return


def _is_closed(one: socket.socket) -> bool:
    try:
        return one.fileno() < 0 or one.recv(4096, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
