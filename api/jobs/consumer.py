"""How the worker's Celery takes messages: three parts of its own replaced, the rest left out.

Between the jobs queue and the task. Celery's consumer is a chain of steps; this one keeps the
connection, the task consumer and the loop. What is changed, and why:

- prefetch is per consumer, because RabbitMQ 4.3 refuses the global kind Celery asks for;
- a message is acknowledged by the task, after the job's lease is in the ledger;
- a message that cannot be read goes to the dead letters; Celery would drop or reject it, and
  some malformed bodies would end the whole worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.worker.consumer import connection, tasks
from celery.worker.consumer import consumer as celery_consumer
from celery.worker.request import Request

from wire import errors, logs

_PAUSE_S = 0.5

DeadLetter = Callable[[bytes, str], None]
"""Takes an unreadable message's body and its delivery tag; raises errors.NotAnswered when nobody keeps it."""


class EarlyAckRequest(Request):  # type: ignore[misc]
    """A request whose task can acknowledge its message: ``self.request.acknowledge_message()``.

    The thread pool shares memory with the loop, so the callable may travel with the request.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_dict["acknowledge_message"] = self.acknowledge


class PerConsumerTasks(tasks.Tasks):  # type: ignore[misc]
    """Celery's task consumer with a prefetch count per consumer, of one.

    A task acknowledges as soon as it has its lease, so the next message comes at once, and no
    more than one waits in the memory of a worker whose threads are all busy.
    """

    requires = (connection.Connection,)

    def start(self, c: Any) -> None:
        """Celery's own start, with the count set before it is sent."""
        c.initial_prefetch_count = 1
        super().start(c)

    def qos_global(self, c: Any) -> bool:
        """Never global."""
        return False


class JobConsumer(celery_consumer.Consumer):  # type: ignore[misc]
    """Connection, tasks and loop; no events, gossip, mingle, heartbeat events or remote control."""

    event_dispatcher = None
    dead_letter: DeadLetter

    class Blueprint(celery_consumer.Consumer.Blueprint):  # type: ignore[misc]
        """The three steps."""

        default_steps = (connection.Connection, PerConsumerTasks, celery_consumer.Evloop)

    def ensure_connected(self, conn: Any) -> Any:
        """Celery's own way back to the broker, without its pauses, which grow to half a minute."""
        conn.ensure_connection = partial(conn.ensure_connection, interval_start=0.5, interval_step=0.5, interval_max=2)
        return super().ensure_connected(conn)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Celery's own handler, except that no message can end the worker."""
        handle = super().create_task_handler(*args, **kwargs)
        expected = self.connection_errors + self.channel_errors

        def on_message(message: Any) -> None:
            try:
                handle(message)
            except expected:
                raise
            except Exception:
                self._bury(message)

        return on_message

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """The body is not JSON."""
        self._bury(message)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Not a Celery message."""
        self._bury(message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A task we do not have."""
        self._bury(message)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A Celery message with impossible content."""
        self._bury(message)

    def _bury(self, message: Any) -> None:
        body = message.body or b""
        try:
            self.dead_letter(body.encode() if isinstance(body, str) else bytes(body), str(message.delivery_tag))
        except errors.NotAnswered as error:
            # Nobody keeps it now, so it stays the broker's; the pause makes this no busy loop.
            logs.log("rpc.dead_lettered", level="ERROR", error=error.code)
            time.sleep(_PAUSE_S)
            message.requeue()
        else:
            message.ack()


def make_consumer(dead_letter: DeadLetter) -> type[JobConsumer]:
    """The consumer class of a worker that hands unreadable messages to ``dead_letter``."""
    return type("WorkerConsumer", (JobConsumer,), {"dead_letter": staticmethod(dead_letter)})
