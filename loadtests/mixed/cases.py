"""The requests of a mixed run, and what each of them must be answered.

From models and their truth to a list of cases. No two requests have the same rows, so an answer
that went to another caller is a wrong answer. Everything is computed before the run begins.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from loadtests.mixed.models import Row, Table
from loadtests.mixed.truth import Answers, Truth

MIX = {
    "predict": 0.855,
    "bad row": 0.05,
    "unknown model": 0.02,
    "unknown version": 0.01,
    "unknown alias": 0.01,
    "no probabilities": 0.01,
    "not JSON": 0.01,
    "client leaves": 0.03,
    "body cut off": 0.005,
}
"""Kinds of requests and their shares."""

SIZES = ((0.749, 1, 1), (0.18, 2, 10), (0.07, 11, 100), (0.001, 500, 2_000))
"""Shares of requests and the rows they have: one, some, many, and more than travel with others."""

REFUSALS = {
    "bad row": (422, "bad_input"),
    "unknown model": (404, "model_not_found"),
    "unknown version": (404, "version_not_found"),
    "unknown alias": (404, "alias_not_found"),
    "no probabilities": (422, "bad_input"),
    "not JSON": (400, "malformed_body"),
}
"""Status and code of what must be refused."""


@dataclass(slots=True)
class Case:
    """One request: its kind, its body, and what its answer must say.

    ``place`` is where the error of a bad row stands; ``start`` and ``stop`` are the rows' places
    in ``target``'s pool; ``leaves`` says that the client goes before the answer.
    """

    kind: str
    body: bytes = b""
    status: int = 200
    code: str = ""
    place: str = ""
    target: Target | None = None
    start: int = 0
    stop: int = 0
    probabilities: bool = False
    leaves: bool = False


@dataclass
class Target:
    """One version that is asked: its truth, its references, and the pool of its rows."""

    table: Table
    truth: Truth
    references: tuple[int | str | None, ...]
    weight: float
    size: int = 0
    rows: list[Row] = field(default_factory=list)
    answers: Answers | None = None

    def fill(self, seed: int) -> None:
        """Draw the pool's rows and compute their truth."""
        self.rows = self.table.rows(self.size, seed)
        self.answers = self.truth.answers(self.rows)


def build(targets: Sequence[Target], count: int, seed: int) -> list[Case]:
    """``count`` cases, drawn with ``seed``."""
    draw = random.Random(seed)
    cases = []
    for kind in draw.choices(list(MIX), list(MIX.values()), k=count):
        target = draw.choices(targets, [target.weight for target in targets])[0]
        if kind == "no probabilities":
            target = next(one for one in targets if one.truth.classes is None)
        low, high = draw.choices([size[1:] for size in SIZES], [size[0] for size in SIZES])[0]
        rows = draw.randint(low, high)
        cases.append(Case(kind, target=target, start=target.size, stop=target.size + rows))
        target.size += rows
    for number, target in enumerate(targets):
        # Seeds of a hundred and above also draw words that no training table has.
        target.fill(seed + 100 + number)
    for case in cases:
        _complete(case, draw)
    return cases


def _complete(case: Case, draw: random.Random) -> None:
    assert case.target is not None
    rows = case.target.rows[case.start : case.stop]
    body: dict[str, Any] = {"model": case.target.table.name}
    reference = draw.choice(case.target.references)
    if reference is not None:
        body["version"] = reference
    if case.target.truth.classes is not None and draw.random() < 0.6:
        body["probabilities"] = case.probabilities = True
    names = case.target.truth.names
    named = draw.random() < 0.3
    body["instances"] = [_named(names, row, draw) for row in rows] if named else rows
    case.leaves = case.kind in ("client leaves", "body cut off")
    if case.kind in REFUSALS:
        case.status, case.code = REFUSALS[case.kind]
        _spoil(case, body, draw)
    case.body = _written(body, draw)
    if case.kind == "not JSON":
        cut = draw.random() < 0.5
        case.body = case.body[:-1] if cut else case.body.replace(b"[", b"[NaN,", 1)


def _written(body: dict[str, Any], draw: random.Random) -> bytes:
    """The body as one of several programs would write it: members in any order, spaces, escapes."""
    members = list(body.items())
    draw.shuffle(members)
    style = draw.random()
    if style < 0.7:
        return orjson.dumps(dict(members))
    return json.dumps(dict(members), ensure_ascii=style < 0.9, indent=1 if style > 0.95 else None).encode()


def _named(names: list[str], row: Row, draw: random.Random) -> dict[str, Any]:
    """A row by name, in some order; of its missing cells some are null and some are not there."""
    keep_nulls = draw.random() < 0.5
    pairs = [(name, cell) for name, cell in zip(names, row, strict=True) if keep_nulls or cell is not None]
    draw.shuffle(pairs)
    return dict(pairs)


def _spoil(case: Case, body: dict[str, Any], draw: random.Random) -> None:
    if case.kind == "unknown model":
        body["model"] = f"nobody-{draw.randrange(20)}"
    elif case.kind == "unknown version":
        body["version"] = 1000 + draw.randrange(1000)
    elif case.kind == "unknown alias":
        body["version"] = f"nobody-{draw.randrange(20)}"
    elif case.kind == "no probabilities":
        body["probabilities"] = True
    elif case.kind == "bad row":
        case.place = _spoil_row(case, body["instances"], draw)


def _spoil_row(case: Case, instances: list[Any], draw: random.Random) -> str:
    """Make one row wrong; gives the place that the answer must name."""
    assert case.target is not None
    at = draw.randrange(len(instances))
    row = instances[at]
    way = draw.choice(("cell", "length", "name")) if isinstance(row, dict) else draw.choice(("cell", "length"))
    if way == "cell":
        name = next(name for name in case.target.truth.names if name.startswith("n"))
        if isinstance(row, dict):
            instances[at] = {**row, name: "a dozen"}
        else:
            instances[at] = ["a dozen", *row[1:]]
        return f"instances[{at}].{name}"
    if isinstance(row, dict):
        instances[at] = {**row, "nobody": 1} if way == "name" else "no row"
    else:
        instances[at] = [*row, 1.0]
    return f"instances[{at}]"
