"""Runs one trainer until it is told to stop: ``python -m trainer``."""

from __future__ import annotations

import signal
import sys
import threading

from trainer.service import TrainerService
from wire import held_memory, logs, settings


def main() -> int:
    """Serve until SIGTERM or SIGINT, then drain. Gives the exit status: 1 without usable keys."""
    held_memory.share_arenas()
    config = settings.load()
    logs.configure("trainer", config.process.log_level)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        service = TrainerService(config)
    except (OSError, ValueError) as error:
        logs.log("process.stopped", level="ERROR", reason=f"the signing keys cannot be read: {error}")
        return 1
    service.start()
    held_memory.collect_until(stopping, busy=False)
    service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
