"""The Open Inference Protocol v2 over REST, as KServe, Triton and MLServer speak it (docs/protocols/open-inference.md).

Between a client of that protocol and the path of POST /predict. Tensors travel to the predictor as they
came, JSON or binary, and come back as they are wanted.
"""

from __future__ import annotations

from typing import Final

from api.protocols.open_inference import infer, routes, writing
from api.protocols.protocol import Protocol

PROTOCOL: Final = Protocol(
    prefix="/v2",
    form_of=infer.form_of,
    described=infer.described,
    router=routes.router,
    refusal=writing.refusal,
    error_schema=writing.ERROR_SCHEMA,
    statuses=writing.STATUSES,
)
"""Its place in the table of protocols."""
