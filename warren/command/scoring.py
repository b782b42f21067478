"""Bulk predictions: pieces of rows go out, several at once, and come back in order with their predictions.

Between ``command.rowfiles`` and ``command.results``. A row that the gateway refuses is taken out and
noted; the rest of its piece is sent again, so that one bad cell costs one row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from warren.client import Client
from warren.command.rowfiles import Piece, Row
from warren.errors import ApiError, InvalidRequest

_PLACE = re.compile(r"instances\[(\d+)\](.*)")


@dataclass(frozen=True)
class Scorer:
    """Predicts pieces by one version; safe to use from several threads."""

    client: Client
    model: str
    version: int
    probabilities: bool
    timeout_s: float

    def score(self, piece: Piece) -> Piece:
        """The piece with predictions or faults in its rows. Raises what concerns no single row."""
        good = [row for row in piece.rows if not row.fault]
        while good:
            try:
                answer = self.client.predict_json(
                    self.model,
                    msgspec.json.encode([row.cells for row in good]),
                    version=self.version,
                    probabilities=self.probabilities,
                    timeout_s=self.timeout_s,
                )
            except InvalidRequest as error:
                good = _without_bad(good, error)
                continue
            _note(good, answer.predictions, answer.probabilities)
            break
        return piece


def _note(rows: list[Row], predictions: Sequence[object], probabilities: Sequence[Sequence[float]] | None) -> None:
    for place, (row, prediction) in enumerate(zip(rows, predictions, strict=True)):
        row.prediction = prediction
        row.probabilities = probabilities[place] if probabilities else None


def _without_bad(rows: list[Row], error: ApiError) -> list[Row]:
    """Note the faults that an answer names; the rows that are left. Raises the error when it names none."""
    if error.status == 413 and len(rows) == 1:
        rows[0].fault = "is too large for a request"
        return []
    found: dict[int, str] = {}
    for place in error.errors:
        match = _PLACE.fullmatch(place.at)
        if match is None or int(match[1]) >= len(rows):
            raise error
        found.setdefault(int(match[1]), f"{match[2].lstrip('.')} {place.problem}".strip())
    if not found:
        raise error
    for number, fault in found.items():
        rows[number].fault = fault
    return [row for number, row in enumerate(rows) if number not in found]
