"""Signs of life: from this predictor to every trainer, so that trainers know whom to wait for.

The first goes out as soon as everything is served, the last when the process begins to stop.
"""

from __future__ import annotations

import threading

from wire import messages, topology
from wire.server import RpcServer

_JOIN_S = 5.0


class Presence:
    """Says every ``every_s`` seconds that this predictor serves, while it does."""

    def __init__(self, server: RpcServer, predictor_id: str, every_s: float) -> None:
        self._server = server
        self._predictor_id = predictor_id
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def start(self) -> None:
        """Begin; the first sign follows the moment the server is ready."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the trainers not to wait for this predictor any more; before the server stops."""
        self._ended.set()
        self._thread.join(_JOIN_S)
        self._server.broadcast(topology.PRESENCE, messages.PredictorGone(predictor_id=self._predictor_id))

    def _run(self) -> None:
        alive = messages.PredictorAlive(predictor_id=self._predictor_id)
        while not self._ended.is_set():
            # A predictor whose inbox is not bound would be waited for in vain.
            if self._server.wait_ready(min(self._every_s, 1.0)):
                self._server.broadcast(topology.PRESENCE, alive)
                self._ended.wait(self._every_s)
