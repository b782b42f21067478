"""MLflow's scoring protocol, one server per model, as it mounts them (docs/protocols/mlflow.md).

Between a client of ``mlflow models serve`` and the path of POST /predict.
"""

from __future__ import annotations

from typing import Final

from api.protocols.mlflow import invocations, refusing, routes
from api.protocols.protocol import Protocol

PROTOCOL: Final = Protocol(
    prefix="/mlflow",
    form_of=invocations.form_of,
    described=invocations.described,
    router=routes.router,
    refusal=refusing.refusal,
    error_schema=refusing.ERROR_SCHEMA,
    statuses=refusing.STATUSES,
)
"""Its place in the table of protocols."""
