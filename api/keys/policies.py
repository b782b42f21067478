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
    ("POST", "/batch-predictions"): "train",
    ("GET", "/jobs"): "train",
    ("GET", "/jobs/{job_id}"): "train",
    ("GET", "/jobs/{job_id}/events"): "train",
    ("GET", "/jobs/{job_id}/output"): "train",
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
    ("GET", "/v2"): "open",
    ("GET", "/v2/health/live"): "open",
    ("GET", "/v2/health/ready"): "open",
    ("GET", "/v2/models/stats"): "any",
    ("GET", "/v2/models/{model}"): "any",
    ("GET", "/v2/models/{model}/ready"): "any",
    ("GET", "/v2/models/{model}/stats"): "any",
    ("POST", "/v2/models/{model}/infer"): "predict",
    ("GET", "/v2/models/{model}/versions/{version}"): "any",
    ("GET", "/v2/models/{model}/versions/{version}/ready"): "any",
    ("GET", "/v2/models/{model}/versions/{version}/stats"): "any",
    ("POST", "/v2/models/{model}/versions/{version}/infer"): "predict",
    ("POST", "/v2/repository/index"): "any",
    ("POST", "/inference.GRPCInferenceService/ServerLive"): "open",
    ("POST", "/inference.GRPCInferenceService/ServerReady"): "open",
    ("POST", "/inference.GRPCInferenceService/ServerMetadata"): "open",
    ("POST", "/inference.GRPCInferenceService/ModelReady"): "any",
    ("POST", "/inference.GRPCInferenceService/ModelMetadata"): "any",
    ("POST", "/inference.GRPCInferenceService/RepositoryIndex"): "any",
    ("POST", "/inference.GRPCInferenceService/ModelStatistics"): "any",
    ("POST", "/inference.GRPCInferenceService/ModelInfer"): "predict",
    ("GET", "/v1/models"): "any",
    ("GET", "/v1/models/{model}"): "any",
    ("GET", "/v1/models/{model}/metadata"): "any",
    ("POST", "/v1/models/{model}:predict"): "predict",
    ("GET", "/v1/models/{model}/versions/{version}"): "any",
    ("GET", "/v1/models/{model}/versions/{version}/metadata"): "any",
    ("POST", "/v1/models/{model}/versions/{version}:predict"): "predict",
    ("GET", "/v1/models/{model}/labels/{label}"): "any",
    ("GET", "/v1/models/{model}/labels/{label}/metadata"): "any",
    ("POST", "/v1/models/{model}/labels/{label}:predict"): "predict",
    ("GET", "/mlflow/{model}/ping"): "any",
    ("GET", "/mlflow/{model}/health"): "any",
    ("GET", "/mlflow/{model}/version"): "any",
    ("POST", "/mlflow/{model}/invocations"): "predict",
    ("GET", "/diagnosis"): "admin",
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
