"""Answers as lines of CSV: what a predictor said of a block, and the block's input, go into the output.

Between the window of blocks under way and the output's file. Numbers are written as the predictor wrote
them, so the same answer is the same text in a live prediction and in an output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from api.offline.order import class_text
from wire import messages
from wire.row_blocks import Block, quoted

_carried = msgspec.json.Decoder(list[str])


class Answers(NamedTuple):
    """What was said of a block's readable rows: JSON of each prediction, JSON of each row's probabilities
    (empty where none were asked for), and why a row has no answer, by its place.
    """

    predictions: Sequence[bytes]
    shares: Sequence[bytes]
    problems: dict[int, str]


NOTHING = Answers((), (), {})
"""The answers of a block without a readable row."""


class Lines:
    """Writes lines of one output."""

    def __init__(self, columns: Sequence[messages.OutputColumn], classes: Sequence[Any] | None, *, shares: int) -> None:
        """``shares``: how many probability columns there are."""
        self._header = ",".join(quoted(column.name) for column in columns)
        self._no_shares = "," * shares
        self._texts: dict[bytes, str] = {}
        self._known = classes is not None
        self._shares = shares

    def header(self) -> bytes:
        """The first line."""
        return self._header.encode() + b"\n"

    def of(self, block: Block, answers: Answers) -> tuple[bytes, int]:
        """The block's lines, one per row in its order, and how many have no answer."""
        own = self._answered(answers)
        refused = len(block.refused) + len(answers.problems)
        if block.refused:
            readable = iter(own)
            told = {each.row: each.problem for each in block.refused}
            own = [self._failed(told[row]) if row in told else next(readable) for row in range(block.total)]
        if block.carried:
            own = [f"{line},{rest}" for line, rest in zip(_carried.decode(block.carried), own, strict=True)]
        return ("\n".join(own) + "\n").encode(), refused

    def _answered(self, answers: Answers) -> list[str]:
        texts = [self._text(one) for one in answers.predictions]
        if self._shares:
            lines = [f"{text},{share[1:-1].decode()}," for text, share in zip(texts, answers.shares, strict=True)]
        else:
            lines = [f"{text}," for text in texts]
        for row, problem in answers.problems.items():
            lines[row] = self._failed(problem)
        return lines

    def _failed(self, problem: str) -> str:
        return f"{self._no_shares},{quoted(problem)}"

    def _text(self, prediction: bytes) -> str:
        if not self._known:
            return prediction.decode()
        text = self._texts.get(prediction)
        if text is None:
            # As many as there are classes.
            text = quoted(class_text(msgspec.json.decode(prediction))) if prediction else ""
            self._texts[prediction] = text
        return text
