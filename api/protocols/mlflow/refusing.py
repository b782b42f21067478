"""Errors as MLflow's scoring server writes them: a code of its own and a message, and no stack trace.

Beside the calls.
"""

from __future__ import annotations

from typing import Final

import msgspec

from api import problems
from api.predict.forms import JSON, Written
from api.protocols import sentences
from wire import errors

STATUSES: Final = {422: 400}
"""MLflow knows no 422."""
ERROR_SCHEMA: Final = {
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
}
"""What an error looks like."""
CODES: Final = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    409: "INVALID_STATE",
    422: "INVALID_PARAMETER_VALUE",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""MLflow's code by the status that Warren gives an error; BAD_REQUEST for any other."""


def refusal(error: errors.WarrenError) -> Written:
    """``{"error_code", "message"}``."""
    code = CODES.get(problems.status_of(error), "BAD_REQUEST")
    return Written(JSON, msgspec.json.encode({"error_code": code, "message": sentences.of(error)}))
