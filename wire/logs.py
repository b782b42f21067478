"""Log lines of every process: one JSON object per line on stderr, actions from a closed list.

Comes in: an action and fields. Goes out: ``{"time", "level", "service", "action",
"request_id", …}``. A real encoder writes the line, so no value can break it in two. Never log
bodies, keys or broker URLs; a length and an id are enough to find the rest.
"""

from __future__ import annotations

import logging
import sys
import time
from contextvars import ContextVar
from typing import Any, Literal

import msgspec

Action = Literal[
    "process.started",
    "process.stopping",
    "process.stopped",
    "library.message",
    "broker.connected",
    "broker.lost",
    "broker.blocked",
    "broker.unblocked",
    "rpc.sent",
    "rpc.replied",
    "rpc.failed",
    "rpc.expired",
    "rpc.subscribed",
    "rpc.unsubscribed",
    "rpc.reply_dropped",
    "rpc.dead_lettered",
    "request.answered",
    "request.failed",
    "job.accepted",
    "job.withdrawn",
    "job.enqueued",
    "job.started",
    "job.progressed",
    "job.cancel_requested",
    "job.finished",
    "job.reaped",
    "job.dead_lettered",
    "job.dropped",
    "lease.taken",
    "lease.lost",
    "ledger.migrated",
    "ledger.failed",
    "dataset.stored",
    "dataset.profiled",
    "dataset.deleted",
    "output.published",
    "key.created",
    "key.revoked",
    "keys.stale",
    "audit.failed",
    "retention.swept",
    "maintenance.failed",
    "train.started",
    "train.progressed",
    "train.finished",
    "train.failed",
    "train.stopped",
    "model.published",
    "model.compiled",
    "model.loaded",
    "model.load_failed",
    "model.evicted",
    "model.forgotten",
    "model.corrupt",
    "model.deleted",
    "alias.moved",
    "alias.deleted",
    "volume.cleaned",
    "predict.answered",
    "predict.failed",
    "predict.retried_alone",
    "predictor.seen",
    "predictor.gone",
    "probe.failed",
]
"""Everything a line can say it is about. A new action is added here first."""

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
"""How loud a line is."""

request_id_var: ContextVar[str] = ContextVar("request_id", default="")
"""The request being worked on in this task or thread; every line carries it."""

_LEVELS: dict[str, int] = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
_logger = logging.getLogger("warren")
_encoder = msgspec.json.Encoder(enc_hook=str)
_service: list[str] = [""]


class JsonFormatter(logging.Formatter):
    """Turns a record, ours or a library's, into one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline. A library's text goes under ``message``."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "service": _service[0],
        }
        fields: dict[str, Any] | None = getattr(record, "warren_fields", None)
        if fields is None:
            line |= {"action": "library.message", "logger": record.name, "message": record.getMessage()}
        else:
            line |= {"action": record.msg, **fields}
        request_id = request_id_var.get()
        if request_id and not line.get("request_id"):
            line["request_id"] = request_id
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encoder.encode(line).decode()


def configure(service: str, level: str) -> None:
    """Send this process's log lines to stderr as JSON.

    ``service`` names the process in every line; ``level`` is a Level's name, in any case.
    Safe to call again; the last call counts. pika's own lines are kept to errors that end the
    process: it reports every refused attempt to connect in five lines, and wire says it in one.
    """
    _service[0] = service
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(_LEVELS[level.upper()], logging.INFO))
    _logger.setLevel(_LEVELS[level.upper()])
    logging.getLogger("pika").setLevel(logging.CRITICAL)


def log(action: Action, *, level: Level = "INFO", exc_info: bool | Exception = False, **fields: object) -> None:
    """Write one line. ``fields`` are values JSON knows; anything else is written as its ``str``.

    ``exc_info`` adds the traceback of the exception being handled, or of the one given. A line below the configured
    level costs less than a microsecond.
    """
    number = _LEVELS[level]
    if _logger.isEnabledFor(number):
        _logger.log(number, action, exc_info=exc_info, extra={"warren_fields": fields})
