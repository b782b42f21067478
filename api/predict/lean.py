"""Predictions answered on the connection itself, with no ASGI cycle in between.

Between Nginx and an exchange. uvicorn makes a scope, a cycle, an event, a timer and a task for
every request and runs it through two queues; for an answer that is computed elsewhere that was
most of the replica's work. Here the parser's events feed an exchange directly, and its answer
leaves in one write. Everything else, and whatever is unusual about a prediction (another
method, ``Expect``, an upgrade, pipelining), goes uvicorn's own way to the same exchange behind
ASGI. Reasons and measurements: docs/decisions/0016.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api import headers
from api.predict.exchange import Exchange, Predictions
from api.predict.forms import Field, Form, RawHeaders
from wire import errors

_FIXED = b"".join(b"%b: %b\r\n" % field for field in headers.SECURITY)
_heads: dict[tuple[int, bytes], bytes] = {}


class LeanProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a shorter way for predictions.

    ``cycle`` is uvicorn's name for the request being answered; an exchange stands there as one,
    so that uvicorn's own rules for pipelining, draining and time-outs hold for it too.
    """

    cycle: Any
    lean: LeanExchange | None = None
    headers: list[tuple[bytes, bytes]]
    _predictions: Predictions

    def connection_made(self, transport: Any) -> None:
        """A client connected (asyncio)."""
        super().connection_made(transport)
        self.url = b""
        self.headers = []
        self._predictions = self.app.predictions

    def on_message_begin(self) -> None:
        """A request begins (httptools); uvicorn's scope for it is made later, if at all."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Head and headers are known (httptools)."""
        form = self._predictions.form_of(self.url)
        if form is not None and self._is_plain():
            self.lean = self.cycle = LeanExchange(self, self._predictions, dict(self.headers), form)
            self.lean.open(b"POST", 0, len(self.headers))
            return
        url, fields, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(fields)
        super().on_headers_complete()

    def _is_plain(self) -> bool:
        idle = self.cycle is None or self.cycle.response_complete
        parser = self.parser
        return (
            idle
            and not self.expect_100_continue
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
        )

    def on_body(self, body: bytes) -> None:
        """A piece of the body (httptools)."""
        if self.lean is None:
            super().on_body(body)
        else:
            self.lean.take(body)

    def on_message_complete(self) -> None:
        """The request is complete (httptools)."""
        lean, self.lean = self.lean, None
        if lean is None:
            super().on_message_complete()
        else:
            lean.complete()

    def send_400_response(self, msg: str) -> None:
        """The parser refuses what came, and says ``msg``: answered as everything else is (uvicorn).

        That is in the form of the protocol that the path belongs to, and a problem document where the parser
        gave up before there was a path: at a method it does not know, or within the address.
        """
        given = next((value for name, value in self.headers if name == b"x-request-id"), None)
        request_id = headers.request_id(given)
        path = unquote_to_bytes(self.url.partition(b"?")[0]).decode("utf-8", "replace")
        error = errors.MalformedBody("This is not an HTTP request.")
        answer = self._predictions.respond(error, request_id, path)
        head = [_head(answer.status_code, (answer.media_type or "").encode())]
        for name, value in (*self.server_state.default_headers, *answer.raw_headers):
            if name != b"content-type":
                head.append(b"%b: %b\r\n" % (name, value))
        head.append(f"connection: close\r\nx-request-id: {request_id}\r\n\r\n".encode())
        self.transport.write(b"".join((*head, answer.body)))
        self.transport.close()


class LeanExchange(Exchange):
    """An exchange on a connection of its own; to uvicorn it is a cycle."""

    __slots__ = ("_pieces", "_protocol", "_size_bytes", "disconnected", "keep_alive", "response_complete")

    def __init__(self, protocol: LeanProtocol, shared: Predictions, found: RawHeaders, form: Form) -> None:
        """``protocol`` is the connection's; ``found`` are the request's headers, ``form`` is the call's."""
        super().__init__(shared, found, form)
        self._protocol = protocol
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self.keep_alive = protocol.parser.should_keep_alive()
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> LeanExchange:
        """What uvicorn sets when the connection is lost; here it is this exchange itself."""
        return self

    def set(self) -> None:
        """The connection is lost: nobody is there to be answered."""
        self.leave()

    def take(self, piece: bytes) -> None:
        """A piece of the body; after a refusal it is dropped."""
        if self.ended:
            return
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        if self.too_long(self._size_bytes):
            self._pieces.clear()

    def complete(self) -> None:
        """The body is complete."""
        if self.ended:
            return
        pieces, self._pieces = self._pieces, []
        self.ask(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def respond(self, status: int, kind: bytes, fields: tuple[Field, ...], body: bytes) -> None:
        """Write the whole answer at once (Exchange)."""
        protocol = self._protocol
        self.response_complete = True
        # Only pipelined requests are not told that their connection was lost.
        if protocol.transport.is_closing():
            return
        head = [_heads.get((status, kind)) or _head(status, kind)]
        for name, value in (*protocol.server_state.default_headers, *fields):
            head += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            head.append(b"connection: close\r\n")
        head.append(f"x-request-id: {self.request_id}\r\ncontent-length: {len(body)}\r\n\r\n".encode())
        head.append(body)
        protocol.transport.write(b"".join(head))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


def _head(status: int, kind: bytes) -> bytes:
    """The lines that all answers of a status and type share; there are some dozens of them."""
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    head = _heads[status, kind] = b"%bcontent-type: %b\r\n%b" % (line, kind, _FIXED)
    return head
