"""The stack under test, started as ``make up`` does, in a home of its own; and a plain broker.

The plain broker is for the tutorials' RPC, which needs RabbitMQ's default exchange and its
``guest``; Warren's own users may not touch either.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.native.broker import Node, Ports

PORT = 8480
"""Nginx's port of the stack under test."""


@dataclass(frozen=True)
class Stack:
    """A running stack: its address, its supervisor's pid, and the plain broker's URL."""

    url: str
    pids: list[int]
    tutorial_broker_url: str


@contextlib.contextmanager
def started(home: Path) -> Iterator[Stack]:
    """A stack that stops when the block ends. Raises CalledProcessError when it does not start."""
    home.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"WARREN_HOME": str(home), "WARREN_PORT": str(PORT)}
    command = [sys.executable, "-m", "deploy.native"]
    plain = Node(home.parent / "plain-broker", Ports.free())
    subprocess.run([*command, "up"], env=environment, check=True, stdout=subprocess.DEVNULL)
    try:
        plain.start()
        plain.wait_ready()
        pid = int((home / "run" / "supervisord.pid").read_text())
        yield Stack(f"http://127.0.0.1:{PORT}", [pid], f"amqp://guest:guest@127.0.0.1:{plain.ports.amqp}/%2F")
    finally:
        plain.stop()
        subprocess.run([*command, "down"], env=environment, check=True, stdout=subprocess.DEVNULL)


def in_front(upstream_port: int, port: int, folder: Path) -> list[str]:
    """The command of an Nginx with Warren's own balancing settings in front of one FastAPI server."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    config = f"""
worker_processes 2; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; {temporary}
  upstream app {{ server 127.0.0.1:{upstream_port} max_fails=0; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 1000000;
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
    (folder / "nginx.conf").write_text(config)
    return ["nginx", "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
