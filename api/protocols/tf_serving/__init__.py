"""TensorFlow Serving's REST protocol, which is KServe's version 1 too (docs/protocols/tf-serving.md).

Between a client of that protocol and the path of POST /predict.
"""

from __future__ import annotations

from typing import Final

from api.protocols.protocol import Protocol
from api.protocols.tf_serving import predict, routes

PROTOCOL: Final = Protocol(
    prefix="/v1",
    form_of=predict.form_of,
    described=predict.described,
    router=routes.router,
    refusal=predict.refusal,
    error_schema=predict.ERROR_SCHEMA,
    statuses=predict.STATUSES,
)
"""Its place in the table of protocols."""
