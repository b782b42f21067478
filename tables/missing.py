"""The text cells that mean "nothing was written here", the same in files and in JSON."""

from __future__ import annotations

from typing import Final

MARKERS: Final = frozenset(
    {
        "",
        "?",
        "-",
        ".",
        "#N/A",
        "<NA>",
        "NA",
        "N/A",
        "n/a",
        "NULL",
        "Null",
        "null",
        "None",
        "NaN",
        "nan",
        "NaT",
        "0000-00-00",
        "0000-00-00 00:00:00",
    }
)
"""Cells, without surrounding white space, that count as missing; letters' case matters, so that
a category ``none`` or ``na`` stays one. The zero dates are what MySQL exports for no date."""

NOT_A_NUMBER: Final = frozenset({"NaN", "nan"})
"""Markers that a JSON request may not write for a number: JSON has null for it, and a quoted NaN
is more often a defect of the sender than a wish."""


def is_missing(text: str) -> bool:
    """Whether a cell, already without surrounding white space, means missing."""
    return text in MARKERS
