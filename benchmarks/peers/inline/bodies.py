"""The request's shape as a careful team would declare it: as narrow as the model's columns allow."""

from __future__ import annotations

import json

from pydantic import BaseModel
from rows import FOLDER

_columns = json.loads((FOLDER / "columns.json").read_text())
NUMBERS = [at for at, column in enumerate(_columns) if column["type"] != "text"]
"""Positions of the number columns."""
TEXTS = [at for at, column in enumerate(_columns) if column["type"] == "text"]
"""Positions of the text columns."""


class Numbers(BaseModel):
    """A prediction request for a model on numbers; pydantic is fastest when there is one type."""

    instances: list[list[float]]


class Mixed(BaseModel):
    """A prediction request for a model on numbers and text, either of which may be missing."""

    instances: list[list[float | str | None]]


Body = Mixed if TEXTS else Numbers
"""What the endpoint takes."""


class Answer(BaseModel):
    """Class indices."""

    predictions: list[int]
