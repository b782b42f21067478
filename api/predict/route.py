"""Predictions as a raw ASGI application, and the place of POST /predict in the OpenAPI document.

Between FastAPI's application and an exchange: the door of every server that speaks ASGI. Nginx's
requests come by the shorter way of ``lean``; tests, and pipelined requests, come through here.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from api import headers, openapi
from api.predict import envelope
from api.predict.exchange import Exchange, Predictions
from api.predict.forms import Field, Form, RawHeaders

_WATCH_AFTER_S = 0.05
"""A request older than this has its client watched for its leaving; most are answered sooner."""


class PredictRoute:
    """The ASGI application of all calls that predict."""

    def __init__(self, shared: Predictions) -> None:
        """``shared`` is what all predictions of the replica share."""
        self._shared = shared

    async def serve(self, form: Form, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI), whose call has this form."""
        exchange = _AsgiExchange(self._shared, dict(scope["headers"]), form)
        try:
            method, query = scope["method"].encode(), scope["query_string"]
            if exchange.open(method, len(query), len(scope["headers"])):
                await _body(exchange, receive)
                await _answered(exchange, receive)
            for message in exchange.messages:
                await send(message)
        finally:
            exchange.leave()


class _AsgiExchange(Exchange):
    """An exchange whose answer waits to be sent by the request's own task."""

    __slots__ = ("messages", "ready")

    def __init__(self, shared: Predictions, found: RawHeaders, form: Form) -> None:
        super().__init__(shared, found, form)
        self.messages: tuple[Message, ...] = ()
        self.ready = asyncio.Event()

    def respond(self, status: int, kind: bytes, fields: tuple[Field, ...], body: bytes) -> None:
        """Keep the answer for the task (Exchange)."""
        own = (
            (b"content-type", kind),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", self.request_id.encode()),
        )
        start = {"type": "http.response.start", "status": status, "headers": [*own, *fields, *headers.SECURITY]}
        self.messages = (start, {"type": "http.response.body", "body": body})
        self.ready.set()


async def _body(exchange: _AsgiExchange, receive: Receive) -> None:
    """Receive the body and ask; a client that leaves meanwhile ends the exchange."""
    pieces: list[bytes] = []
    size_bytes = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            exchange.leave()
            return
        pieces.append(message.get("body", b""))
        size_bytes += len(pieces[-1])
        if exchange.too_long(size_bytes):
            return
        more = message.get("more_body", False)
    exchange.ask(pieces[0] if len(pieces) == 1 else b"".join(pieces))


async def _answered(exchange: _AsgiExchange, receive: Receive) -> None:
    """Wait until there is an answer, or nobody to give it to."""
    if exchange.ended:
        return
    try:
        async with asyncio.timeout(_WATCH_AFTER_S):
            await exchange.ready.wait()
    except TimeoutError:
        answer = asyncio.ensure_future(exchange.ready.wait())
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((answer, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            answer.cancel()
            leaving.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def described() -> dict[str, Any]:
    """The path item of the OpenAPI document."""
    declared = openapi.operation(
        body=envelope.PredictBody,
        answer=envelope.PredictAnswer,
        problems=openapi.OF_PREDICTIONS,
        headers={"Server-Timing": "Milliseconds in queues, computing, and in all."},
        parameters=(openapi.TIMEOUT, openapi.REQUEST_ID_IN),
        example={"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]},
    )
    text = (
        "One prediction per row, in order. Rows are arrays in the order of the model's features, or objects "
        "by name, where an absent or null cell is missing. Without `version` the alias `champion` answers."
    )
    return {"post": openapi.raw_operation("Predict", text, "predictions", declared)}
