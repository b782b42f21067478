"""RabbitMQ RPC as the pattern's tutorials write it: a connection and a reply queue per request."""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import pika
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
PARAMETERS = pika.URLParameters(os.environ["BENCH_AMQP"])


class Body(BaseModel):
    """A prediction request."""

    instances: list[list[float | str | None]]


@app.post("/predict")
def predict(body: Body) -> dict[str, Any]:
    """Connect, declare, publish, wait, close."""
    connection = pika.BlockingConnection(PARAMETERS)
    channel = connection.channel()
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    wanted = str(uuid.uuid4())
    answers: list[bytes] = []

    def on_answer(_channel: Any, _method: Any, properties: Any, answer: bytes) -> None:
        if properties.correlation_id == wanted:
            answers.append(answer)

    channel.basic_consume(queue=queue, on_message_callback=on_answer, auto_ack=True)
    channel.basic_publish(
        exchange="",
        routing_key="rpc_queue",
        properties=pika.BasicProperties(reply_to=queue, correlation_id=wanted),
        body=json.dumps({"instances": body.instances}),
    )
    while not answers:
        connection.process_data_events(time_limit=30)
    connection.close()
    answer: dict[str, Any] = json.loads(answers[0])
    return answer
