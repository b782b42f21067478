"""What a process tells about itself: metrics, and whether it lives and is ready.

Comes in: counts and times from every package. Goes out: ``/metrics`` (Prometheus text),
``/livez`` and ``/readyz`` on a port of the process's own that Nginx does not proxy.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec
import prometheus_client
from prometheus_client import exposition

from wire import logs, settings
from wire.tallies import Counter, Gauge, Histogram

REGISTRY: Final = prometheus_client.CollectorRegistry()
"""Where every metric of this process lives."""

SECONDS_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Upper bounds in seconds: half a millisecond (an idle RPC) to the longest deadline."""

_MAX_PROBES = 8
_PROBE_TIMEOUT_S = 5.0


def counter(name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    """A new counter ``warren_<name>_total`` in REGISTRY."""
    return Counter(name, documentation, labels, namespace="warren", registry=REGISTRY)


def gauge(name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    """A new gauge ``warren_<name>`` in REGISTRY."""
    return Gauge(name, documentation, labels, namespace="warren", registry=REGISTRY)


def histogram(
    name: str, documentation: str, labels: Sequence[str] = (), buckets: Sequence[float] = SECONDS_BUCKETS
) -> Histogram:
    """A new histogram ``warren_<name>`` in REGISTRY; name it with its unit, such as ``…_seconds``."""
    return Histogram(name, documentation, labels, namespace="warren", buckets=buckets, registry=REGISTRY)


prometheus_client.ProcessCollector(registry=REGISTRY)
prometheus_client.PlatformCollector(registry=REGISTRY)
prometheus_client.GCCollector(registry=REGISTRY)

python_blocks = gauge("python_blocks", "Memory blocks the interpreter has allocated; what leaks raises them for good")
"""Unlike the resident size it falls again with the next collection of garbage, and no fragmentation raises it."""
python_blocks.set_function(sys.getallocatedblocks)

broker_connected = gauge("broker_connected", "1 while the connection is open", ["connection"])
"""By connection name: 1 while it is open, else 0."""
broker_blocked = gauge("broker_blocked", "1 while a broker alarm blocks the connection", ["connection"])
"""By connection name: 1 while the broker refuses publishes."""
broker_connects = counter("broker_connects", "Connections opened", ["connection"])
"""By connection name: how often it was opened."""
rpc_seconds = histogram("rpc_seconds", "Seconds from an RPC's publish to its reply", ["queue"])
"""By queue: how long answered calls took."""
rpc_failures = counter("rpc_failures", "Calls that got no answer", ["queue", "code"])
"""By queue and error code."""
rpc_handled = counter("rpc_handled", "Requests a server worked on", ["queue", "outcome"])
"""By queue and outcome: ``done``, or the code of the error."""
rpc_expired = counter("rpc_expired", "Requests dropped because their deadline had passed", ["queue"])
"""By queue."""
rpc_replies_dropped = counter("rpc_replies_dropped", "Replies that could not be delivered", ["reason"])
"""By reason: ``gone`` (the requester left), ``refused``, ``late``, ``expired``, ``too_large``."""
rpc_dead_lettered = counter("rpc_dead_lettered", "Messages copied to the dead-letter exchange", ["queue"])
"""By the queue they came from."""


@lru_cache(maxsize=256)
def _rpc_seconds(queue: str) -> Histogram:
    return rpc_seconds.labels(queue)


def observe_rpc(queue: str, seconds: float) -> None:
    """Count one answered call; ``queue`` is one of the topology's, so the labels are few."""
    _rpc_seconds(queue).observe(seconds)


@lru_cache(maxsize=1024)
def _rpc_handled(queue: str, outcome: str) -> Counter:
    return rpc_handled.labels(queue, outcome)


def count_handled(queue: str, outcome: str) -> None:
    """Count one request a server worked on; outcomes are ``done`` and the codes of errors, so they are few."""
    _rpc_handled(queue, outcome).inc()


def render() -> tuple[bytes, str]:
    """The metrics as Prometheus text, and its content type."""
    return exposition.generate_latest(REGISTRY), exposition.CONTENT_TYPE_PLAIN_0_0_4


Ready = Callable[[], dict[str, str]]
"""Answers what this process still lacks, as name to reason; empty means ready."""


class _BoundedServer(ThreadingHTTPServer):
    """A threaded server with a bound on its threads; what comes beyond it is closed at once."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], ready: Ready) -> None:
        self.ready = ready
        self._free = threading.BoundedSemaphore(_MAX_PROBES)
        super().__init__(address, _Probe)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except Exception:  # no thread could be started, so none gives the place back
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _Probe(BaseHTTPRequestHandler):
    """Answers GET of the three paths."""

    timeout = _PROBE_TIMEOUT_S
    server: _BoundedServer

    def do_GET(self) -> None:
        if self.path == "/metrics":
            body, content_type = render()
            self._answer(200, body, content_type)
        elif self.path == "/livez":
            self._answer(200, b'{"status":"alive"}', "application/json")
        elif self.path == "/readyz":
            lacking = _ask(self.server.ready)
            body = msgspec.json.encode({"status": "not ready" if lacking else "ready", "reasons": lacking})
            self._answer(503 if lacking else 200, body, "application/json")
        else:
            self._answer(404, b'{"status":"unknown path"}', "application/json")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every second and say nothing worth a line."""


def _ask(ready: Ready) -> dict[str, str]:
    try:
        return ready()
    except Exception:
        logs.log("probe.failed", level="ERROR", exc_info=True)
        return {"probe": "the readiness check itself failed; see the log"}


class ProbeServer:
    """A running probe server: the ``port`` it listens on, and how to end it."""

    def __init__(self, server: _BoundedServer) -> None:
        self._server = server
        self.port: int = server.server_address[1]
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="probe", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; returns once the port is free."""
        self._server.shutdown()
        self._thread.join(_PROBE_TIMEOUT_S)
        self._server.server_close()


def start_probe_server(process: settings.Process, ready: Ready) -> ProbeServer:
    """Serve ``/metrics``, ``/livez`` and ``/readyz`` in a thread.

    ``/readyz`` is 200 while ``ready()`` is empty, else 503 with its reasons; it is called in
    the probe's thread and must answer without waiting. Raises OSError when the port is taken.
    """
    return ProbeServer(_BoundedServer((process.metrics_host, process.metrics_port), ready))
