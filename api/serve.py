"""``python -m api.serve``: one replica, as gunicorn with a single uvicorn worker.

Between the supervisor and the application. The worker has the event loop, on uvloop with httptools. gunicorn's
master replaces one that is stuck by ending it, and ends with it: whoever supervises it starts both again.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

from gunicorn import glogging, sock
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from uvicorn_worker import UvicornWorker

from wire import held_memory, logs
from wire.settings import Settings, load

_SPARE_S = 5.0
"""Seconds between the end of draining and the kill: what closing connections may take."""


class Worker(UvicornWorker):  # type: ignore[misc]
    """The worker process: uvicorn on our own protocol, and bounded draining."""

    CONFIG_KWARGS = {
        # A tenth more predictions than asyncio's own loop at 256 connections, the same at 64 (docs/performance.md).
        "loop": "uvloop",
        # By name, so that the master, which only starts workers, does not load what they are made of.
        "http": "api.predict.lean:LeanProtocol",
        "lifespan": "on",
        "access_log": False,
        "server_header": False,
        # Nginx is the only one who speaks to a replica, and nothing here needs the client's address.
        "proxy_headers": False,
    }

    _settled = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Gunicorn's own arguments; draining ends before gunicorn's patience does."""
        super().__init__(*args, **kwargs)
        self.config.timeout_graceful_shutdown = max(1, int(self.cfg.graceful_timeout - _SPARE_S))

    def run(self) -> None:
        """Serve; what was made so far stays, so the garbage collector need not walk it again and again."""
        # An eighth of a busy replica's time went into collections that found nothing.
        held_memory.settle()
        super().run()

    async def callback_notify(self) -> None:
        """Report to gunicorn's master, every 15 s, and collect garbage."""
        await super().callback_notify()
        # Calls other than predictions leave cycles, 4 kB for a job.
        if self._settled:
            gc.collect()
        else:
            # What starting has made stays, too.
            held_memory.settle()
            self._settled = True


class Reserved:
    """A replica's address: taken at once, open only when the worker is ready, which is when uvicorn listens.

    gunicorn would listen before there is a worker, and whoever asked a starting replica would wait for
    it. Refused at once, Nginx asks another one.
    """

    @staticmethod
    def _is_listening(_socket: object) -> bool:
        return True


class ReservedPort(Reserved, sock.TCPSocket):  # type: ignore[misc]
    """A port that is."""


class ReservedPath(Reserved, sock.UnixSocket):  # type: ignore[misc]
    """A Unix socket that is."""


class Logger(glogging.Logger):  # type: ignore[misc]
    """gunicorn's and uvicorn's own lines, as JSON like all others."""

    def setup(self, cfg: Any) -> None:
        """Give gunicorn's handlers our format (gunicorn's hook)."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.JsonFormatter())


class Replica(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured from our settings instead of from files and flags."""

    def __init__(self, settings: Settings) -> None:
        """``settings`` are those of the process."""
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Hand our settings to gunicorn."""
        for name, value in options(self._settings).items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        """The application; loaded in the worker, so that nothing is shared with the master."""
        from api.app import create_app

        return create_app(self._settings)


def end_with(arbiter: Arbiter, _worker: Worker) -> None:
    """End the master when its worker has died (gunicorn's hook ``child_exit``).

    The address is open as long as the master lives, so whoever came before the next worker would wait for it;
    refused, Nginx asks another replica. Raises HaltServer.
    """
    if arbiter.LISTENERS:  # else it is stopping, and its worker has drained
        raise HaltServer("The worker has ended.", 1)


def options(settings: Settings) -> dict[str, Any]:
    """Gunicorn's settings for a replica."""
    path = settings.api.socket
    return {
        "bind": [f"{settings.api.host}:{settings.api.port}", *([f"unix:{path}"] if path else [])],
        # Only for the socket's file: whoever runs the replica may open it.
        "umask": 0o177,
        # More processes are more replicas, each with its own socket, log and batches (`make capacity`).
        "workers": 1,
        "worker_class": Worker,
        "keepalive": settings.api.keep_alive_s,
        "graceful_timeout": int(settings.process.drain_s + _SPARE_S),
        # The worker reports from its event loop; one that is stuck this long is replaced.
        "timeout": 30,
        # On memory: a heartbeat must not wait for a disk.
        "worker_tmp_dir": "/dev/shm",  # noqa: S108 - gunicorn makes an unnamed file there
        "control_socket_disable": True,
        "child_exit": end_with,
        "logger_class": Logger,
    }


def main() -> int:
    """Serve until told to stop."""
    settings = load()
    logs.configure(settings.api.replica, settings.process.log_level)
    sock.TCPSocket, sock.UnixSocket = ReservedPort, ReservedPath
    Replica(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
