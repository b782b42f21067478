"""What each call needs: one table, asked by every route and shown in the OpenAPI document.

Between a request and its route. A call that is not in the table needs ``admin``, so that one
that was forgotten is closed and not open; a test fails for it.
"""

from __future__ import annotations

from typing import Final, Literal

from api.keys.callers import Scope

Policy = Scope | Literal["any", "open"]
"""A scope; ``any``: every valid key; ``open``: no key at all."""

Call = tuple[str, str]
"""A method and a path's template."""

POLICIES: Final[dict[Call, Policy]] = {
    ("POST", "/predict"): "predict",
    ("POST", "/train"): "train",
    ("GET", "/jobs"): "train",
    ("GET", "/jobs/{job_id}"): "train",
    ("GET", "/jobs/{job_id}/events"): "train",
    ("POST", "/jobs/{job_id}/cancel"): "train",
    ("POST", "/datasets"): "train",
    ("GET", "/datasets"): "train",
    ("GET", "/datasets/{dataset_id}"): "train",
    ("DELETE", "/datasets/{dataset_id}"): "train",
    ("GET", "/models"): "any",
    ("GET", "/models/{model}"): "any",
    ("GET", "/models/{model}/versions/{version}"): "any",
    ("GET", "/models/{model}/versions/{version}/files/{file}"): "train",
    ("PUT", "/models/{model}/aliases/{alias}"): "train",
    ("DELETE", "/models/{model}/aliases/{alias}"): "train",
    ("POST", "/models/{model}/rollback"): "train",
    ("DELETE", "/models/{model}/versions/{version}"): "admin",
    ("DELETE", "/models/{model}"): "admin",
    ("POST", "/keys"): "admin",
    ("GET", "/keys"): "admin",
    ("DELETE", "/keys/{prefix}"): "admin",
    ("GET", "/audit"): "admin",
    ("GET", "/livez"): "open",
    ("GET", "/readyz"): "open",
    ("GET", "/docs"): "open",
    ("GET", "/docs/start.js"): "open",
    ("GET", "/docs/{asset}"): "open",
    ("GET", "/openapi.json"): "open",
}
"""Every call of the gateway. The documentation says nothing that its source does not; /readyz
says what is missing and nothing of what is there."""


def policy_of(method: str, path: str) -> Policy:
    """What a call needs; ``path`` is a template such as ``/models/{model}``."""
    return POLICIES.get((method, path), "admin")
