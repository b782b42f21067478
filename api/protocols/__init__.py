"""The protocols that other people's clients speak, each an envelope around the path of POST /predict.

Between Nginx and the exchanges. ``PROTOCOLS`` is the one table: a protocol is added or removed there,
with its package here, its policies in ``api.keys.policies`` and its locations in ``nginx.conf``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from api import problems
from api.predict.forms import Form
from api.predict.native import NATIVE
from api.protocols import mlflow, open_inference, open_inference_grpc, tf_serving
from api.protocols.protocol import Protocol
from wire import errors

PROTOCOLS: Final[tuple[Protocol, ...]] = (
    open_inference.PROTOCOL,
    open_inference_grpc.PROTOCOL,
    tf_serving.PROTOCOL,
    mlflow.PROTOCOL,
)
"""Every protocol beside Warren's own."""

_PREDICT: Final = NATIVE.route.encode()
_PREFIXES: Final = tuple((protocol.prefix.encode(), protocol) for protocol in PROTOCOLS)


def form_of(path: bytes) -> Form | None:
    """The form of the prediction that is asked for at this path; None where none is."""
    if path == _PREDICT:
        return NATIVE
    for prefix, protocol in _PREFIXES:
        if path.startswith(prefix):
            return protocol.form_of(path)
    return None


def respond(error: errors.WarrenError, request_id: str, path: str) -> Response:
    """The answer for an error, in the form of the protocol that the path belongs to (problems.Respond)."""
    protocol = _of(path)
    return problems.response(error, request_id) if protocol is None else protocol.response(error)


def described() -> dict[str, Any]:
    """The OpenAPI path items of the calls that predict."""
    return {path: item for protocol in PROTOCOLS for path, item in protocol.described().items()}


def restyled(path: str, operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """An OpenAPI operation with its errors as its protocol has them."""
    protocol = _of(path)
    return operation if protocol is None else protocol.restyled(operation)


def _of(path: str) -> Protocol | None:
    for protocol in PROTOCOLS:
        if path.startswith(protocol.prefix) and path[len(protocol.prefix) :][:1] in ("", "/"):
            return protocol
    return None
