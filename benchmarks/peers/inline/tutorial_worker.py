"""The other end of the tutorials' RPC: one process, one message at a time."""

from __future__ import annotations

import json
import os
from typing import Any

import pika
from rows import Model

model = Model()
connection = pika.BlockingConnection(pika.URLParameters(os.environ["BENCH_AMQP"]))
channel = connection.channel()
channel.queue_declare(queue="rpc_queue")


def on_request(channel: Any, method: Any, properties: Any, body: bytes) -> None:
    """Predict and answer."""
    answer = {"predictions": model.predict(json.loads(body)["instances"])}
    channel.basic_publish(
        exchange="",
        routing_key=properties.reply_to,
        properties=pika.BasicProperties(correlation_id=properties.correlation_id),
        body=json.dumps(answer),
    )
    channel.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue="rpc_queue", on_message_callback=on_request)
channel.start_consuming()
