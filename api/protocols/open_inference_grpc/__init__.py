"""The Open Inference Protocol v2 over gRPC (docs/protocols/open-inference.md, docs/decisions/0029).

Between a client of that protocol and the path of POST /predict; a translation of ``api.protocols.open_inference``
into gRPC's messages and status codes. Nginx speaks HTTP/2 with the client and HTTP/1.1 with a replica, so that a call
is a POST like any other: one framed message in, one out, and the status beside it (``framing``).
"""

from __future__ import annotations

from typing import Final

from api.predict.forms import Form
from api.protocols.open_inference_grpc import framing, routes
from api.protocols.protocol import Protocol

_INFER: Final = f"{routes.PREFIX}/ModelInfer".encode()


def form_of(path: bytes) -> Form | None:
    """The form of a path; None where it is not ModelInfer."""
    if path != _INFER:
        return None
    # Here, so that a replica that is never asked like this does not load protobuf.
    from api.protocols.open_inference_grpc import infer

    return infer.MODEL_INFER


PROTOCOL: Final = Protocol(
    prefix=routes.PREFIX, form_of=form_of, described=dict, router=routes.router, refusal=framing.refusal
)
"""Its place in the table of protocols. OpenAPI has no words for it: its calls are in open_inference.proto."""
