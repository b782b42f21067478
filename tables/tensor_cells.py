"""The values of a tensor to the cells of a column: what a column of each type takes, and what it means.

Beneath ``tables.tensors``. A number column takes numbers of any width and, as rows do, numbers written
as text; a boolean column takes BOOL, and 0 and 1; a date column takes text; a text column takes text
and whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tables import careful
from tables.columns import Column
from tables.errors import MAX_ROW_ERRORS, RowErrors
from tables.tensor_data import Values

_TEXTS = {str, type(None)}
_NUMBERS = {int, float, type(None)}

Cells = NDArray[np.float64] | Sequence[Any]
"""One column: float64 with NaN for missing, or texts with ``""``."""


def column(column: Column, values: Values, at: str) -> Cells:
    """The cells of a column; ``at`` names the tensor. Raises RowErrors."""
    if values.kind == "text":
        return _from_texts(column, values.array, at)
    if values.kind == "cell":
        return _from_cells(column, values.array, at)
    if column.type == "number" and values.kind != "boolean":
        return finite(values.array.astype(np.float64), at, 1)
    if column.type == "boolean":
        return _booleans(values, at)
    if column.type == "text" and values.kind == "integer":
        return list(map(str, values.array.tolist()))
    wanted = {"number": "a datatype of numbers", "date": "BYTES, with dates as text"}.get(column.type, "BYTES")
    raise RowErrors(((at, f"must be of {wanted}: the column is of type {column.type}"),))


def _from_cells(column: Column, found: Sequence[Any], at: str) -> Cells:
    """Cells as a row of JSON has them; the usual ones quickly."""
    kinds = set(map(type, found))
    if kinds <= _TEXTS:
        return _from_texts(column, found, at)
    if column.type == "number" and kinds <= _NUMBERS:
        return finite(np.array(found, dtype=np.float64), at, 1)
    cells: list[Any] = []
    problems: list[tuple[str, str]] = []
    for row, cell in enumerate(found):
        try:
            cells.append(careful.convert(column, cell))
        except careful.CellError as error:
            problems.append((f"{at}[{row}]", str(error)))
            if len(problems) == MAX_ROW_ERRORS:
                break
    if problems:
        raise RowErrors(tuple(problems))
    return cells if column.type == "text" else np.array(cells, dtype=np.float64)


def missing(column: Column, rows: int) -> Cells:
    """The cells of a column that was not sent."""
    # One cell that is seen as many: it takes no memory.
    return np.broadcast_to(np.array("", dtype=object) if column.type == "text" else np.array(np.nan), rows)


def finite(numbers: NDArray[np.float64], at: str, width: int) -> NDArray[np.float64]:
    """The same numbers, of rows of ``width``, if none is infinite. Raises RowErrors."""
    if not np.isinf(numbers).any():
        return numbers
    rows = sorted(set((np.flatnonzero(np.isinf(numbers)) // width).tolist()))
    raise RowErrors(tuple((f"{at}[{row}]", "is a number out of range") for row in rows[:MAX_ROW_ERRORS]))


def _booleans(values: Values, at: str) -> Cells:
    numbers: NDArray[np.float64] = values.array.astype(np.float64)
    wrong = np.flatnonzero(~((numbers == 0) | (numbers == 1) | np.isnan(numbers)))
    if wrong.size:
        problem = "must be true or false, or missing"
        raise RowErrors(tuple((f"{at}[{row}]", problem) for row in wrong[:MAX_ROW_ERRORS].tolist()))
    return numbers


def _from_texts(column: Column, texts: Sequence[str | None], at: str) -> Cells:
    """Each different text is converted once, as a cell of a row is."""
    known: dict[str | None, Any] = {}
    problems: dict[str | None, str] = {}
    for text in set(texts):
        try:
            known[text] = careful.convert(column, text)
        except careful.CellError as error:
            problems[text] = str(error)
    if problems:
        rows = [(row, problems[text]) for row, text in enumerate(texts) if text in problems]
        raise RowErrors(tuple((f"{at}[{row}]", problem) for row, problem in rows[:MAX_ROW_ERRORS]))
    cells = list(map(known.__getitem__, texts))
    return cells if column.type == "text" else np.array(cells, dtype=np.float64)
