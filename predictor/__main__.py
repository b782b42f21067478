"""Runs one predictor until it is told to stop: ``python -m predictor``."""

from __future__ import annotations

import signal
import sys
import threading

from predictor import memory_limit
from predictor.service import PredictorService
from wire import held_memory, logs, settings


def main() -> int:
    """Serve until SIGTERM or SIGINT, then drain. Gives the exit status: 1 without a usable key."""
    held_memory.share_arenas(map_large=False)
    memory_limit.apply()
    config = settings.load()
    logs.configure("predictor", config.process.log_level)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        service = PredictorService(config)
    except (OSError, ValueError) as error:
        logs.log("process.stopped", level="ERROR", reason=f"the verify key cannot be read: {error}")
        return 1
    service.start()
    held_memory.collect_until(ended)
    service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
