"""Whether an answer is its request's own and right, and the scoreboard of all of them.

From the client's answers to counts. Crossed is an answer with another request's id or model;
wrong is one that says something else than the truth.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from loadtests.mixed.cases import Case
from loadtests.mixed.truth import TOLERANCE

TIE = 1e-9
"""Two classes whose probabilities are this close are both right."""
KEPT = 10
"""How many mistakes are kept for reading."""


@dataclass
class Scoreboard:
    """What became of the requests; latencies in seconds."""

    right: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    crossed: int = 0
    unanswered: int = 0
    left: int = 0
    rows: int = 0
    mistakes: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether every request that waited was answered, rightly, with its own answer."""
        return not (self.wrong or self.crossed or self.unanswered)

    def judge(self, case: Case, request_id: str, status: int, header_id: str, body: bytes) -> None:
        """Count one answer."""
        try:
            told = orjson.loads(body)
            own = header_id == request_id and told.get("request_id") == request_id
            problem = _problem(case, status, told) if own else "another request's id"
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            own, problem = True, f"not readable: {type(error).__name__}: {error}"
        if problem is None:
            self.right[case.kind] += 1
            self.rows += case.stop - case.start if status == 200 else 0
            return
        self.crossed += not own
        self.wrong += own
        self._keep(f"{case.kind}, {request_id}: {problem} ({status} {body[:300]!r})")

    def miss(self, case: Case, request_id: str, why: str) -> None:
        """Count a request that got no answer."""
        self.unanswered += 1
        self._keep(f"{case.kind}, {request_id}: no answer, {why}")

    def _keep(self, mistake: str) -> None:
        if len(self.mistakes) < KEPT:
            self.mistakes.append(mistake)

    def __str__(self) -> str:
        """The scoreboard for people."""
        lines = [f"{'kind':<18}{'right':>9}"]
        lines += [f"{kind:<18}{count:>9,}" for kind, count in sorted(self.right.items())]
        lines.append(f"{'clients that left':<18}{self.left:>9,}")
        total = sum(self.right.values()) + self.left + self.wrong + self.crossed + self.unanswered
        rate = total / self.elapsed_s if self.elapsed_s else 0.0
        lines.append(f"\n{total:,} requests, {self.rows:,} rows in {self.elapsed_s:.1f} s ({rate:,.0f} requests/s)")
        if self.latencies:
            p50, p99 = np.percentile(self.latencies, [50, 99]) * 1000
            lines.append(f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, at most {max(self.latencies) * 1000:.0f} ms")
        lines.append(f"{self.wrong} wrong, {self.crossed} crossed, {self.unanswered} unanswered")
        return "\n".join([*lines, *self.mistakes])


def _problem(case: Case, status: int, told: dict[str, Any]) -> str | None:
    if status != case.status:
        return f"not {case.status}"
    if status != 200:
        if told["code"] != case.code:
            return f"not {case.code}"
        places = [error["at"] for error in told.get("errors", [])]
        return None if not case.place or places == [case.place] else f"not at {case.place}"
    target = case.target
    assert target is not None
    if (told["model"], told["version"]) != (target.table.name, target.truth.version):
        return f"not {target.table.name} {target.truth.version}"
    if len(told["predictions"]) != case.stop - case.start:
        return f"not {case.stop - case.start} rows"
    return _values(case, told["predictions"], told.get("probabilities"))


def _values(case: Case, predictions: list[Any], probabilities: list[list[float]] | None) -> str | None:
    target = case.target
    assert target is not None
    assert target.answers is not None
    wanted = target.answers.values[case.start : case.stop]
    classes = target.truth.classes
    if classes is None:
        off = np.abs(np.array(predictions) - wanted).max()
        return None if off <= TOLERANCE * target.truth.scale else f"not {json.dumps(wanted.tolist())[:200]}"
    assert target.answers.probabilities is not None
    shares = target.answers.probabilities[case.start : case.stop]
    for label, place, share in zip(predictions, wanted, shares, strict=True):
        if label != classes[place] and share[classes.index(label)] < share.max() - TIE:
            return f"a label that is not {classes[place]}"
    if case.probabilities != (probabilities is not None):
        return "probabilities without being asked" if probabilities else "no probabilities"
    if probabilities is not None and np.abs(np.array(probabilities) - shares).max() > TOLERANCE:
        return f"probabilities that are not {json.dumps(shares.tolist())[:200]}"
    return None
