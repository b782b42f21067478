"""A gateway with one model, for the bulk predictions of the command: what it answers is what it was sent."""

from __future__ import annotations

import threading
from typing import Any

from tests.unit.warren.gateway import Answer, Asked, ok, problem

FEATURES = [
    {"name": "age", "type": "number"},
    {"name": "plan", "type": "text"},
    {"name": "paid", "type": "boolean"},
    {"name": "since", "type": "date"},
]
MODEL = {
    "model": "m",
    "aliases": [
        {"alias": "champion", "version": 3, "previous": 2, "revision": 2, "changed_at": "2026-11-22T10:00:00Z"}
    ],
    "versions": [
        {
            "version": 3,
            "created_at": "2026-11-22T10:00:00Z",
            "estimator": "GaussianNB",
            "task": "classification",
            "score": 0.9,
            "scoring": "f1",
            "runtime": "onnx",
            "size_bytes": 100,
        }
    ],
}
VERSION = {
    "model": "m",
    "version": 3,
    "aliases": ["champion"],
    "manifest": {
        "features": {"columns": FEATURES},
        "classes": ["no", "yes"],
        "metrics": {"f1": 0.9, "matrix": {}},
        "estimator": "GaussianNB",
        "target": "left",
    },
}


class Served:
    """Predicts ``yes`` for an age above 40; refuses an age that is text, as the gateway does, 16 at a time.

    With a ``meeting`` the first requests wait until so many are here together.
    """

    meeting: threading.Barrier | None = None

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self.sizes: list[int] = []
        self.most_at_once = 0
        self._now = 0
        self._turn = threading.Lock()

    def __call__(self, asked: Asked) -> Answer:
        if asked.path != "/predict":
            return ok(VERSION if "/versions/" in asked.path else MODEL)
        with self._turn:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            if self.meeting is not None:
                self.meeting.wait(20)
                self.meeting = None
            return self._predict(asked.json)
        finally:
            with self._turn:
                self._now -= 1

    def _predict(self, body: dict[str, Any]) -> Answer:
        assert body["version"] == 3
        rows = body["instances"]
        bad = [number for number, row in enumerate(rows) if isinstance(row[0], str)]
        if bad:
            errors = [{"at": f"instances[{number}].age", "problem": "must be a number"} for number in bad[:16]]
            return problem(422, "bad_input", errors=errors)
        with self._turn:
            self.rows += rows
            self.sizes.append(len(rows))
        answer: dict[str, Any] = {"model": "m", "version": 3, "request_id": "r"}
        answer["predictions"] = ["yes" if (row[0] or 0) > 40 else "no" for row in rows]
        if body["probabilities"]:
            answer["probabilities"] = [[0.25, 0.75] for _ in rows]
        return ok(answer)
