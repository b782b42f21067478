"""What a scripted gateway tells of keys, datasets, aliases and jobs."""

from __future__ import annotations

from tests.unit.warren.gateway import Answer, stream

KEY = {
    "prefix": "k3v09xqa",
    "owner": "ann",
    "scopes": ["predict"],
    "state": "live",
    "created_at": "2026-11-22T10:00:00Z",
    "expires_at": "2027-11-22T10:00:00Z",
    "revoked_at": None,
}
DATASET = {
    "dataset_id": "d" * 32,
    "format": "csv",
    "size_bytes": 10,
    "created_at": "2026-11-22T10:00:00Z",
    "rows": 2,
    "columns": [{"name": "note", "type": "text", "missing": 0, "distinct": {"more_than": 1000}}],
}
ALIAS = {"model": "m", "alias": "champion", "version": 2, "previous": 3, "revision": 5}
DONE = {"model": "m", "version": 4, "metrics": {"f1": 0.9}, "promoted": True, "promotion_reason": "It is the first."}


def ended(status: str, **more: object) -> Answer:
    """The event stream of a job that ends so."""
    said = {"status": status, "progress": {"fraction": 0.5, "stage": "fit", "message": ""}, **more}
    return Answer(200, stream((1, status, said)), {"content-type": "text/event-stream"})
