"""Which rows judge a version and are never trained on, by any version of the model.

Stands between the table and the fit. A row enters a model's holdout by a hash of its content,
salted with the model's name: the same row falls on the same side in every table, equal rows fall
together, and a version's manifest says enough to find its holdout again in a later table
(``kept_out``). With ``order_by`` the last rows by that column are kept out instead. A tiny table
has no rows to spare: it is judged by folds, and its manifest says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tables.columns import ColumnType
from wire import errors, messages

if TYPE_CHECKING:
    import pandas as pd

MIN_HOLDOUT_ROWS = 5
"""Fewer rows judge nothing."""

TINY_ROWS = 100
"""Below this many rows, a holdout must hold every class, or folds judge better."""

_MISSING_NUMBER = np.uint64(0x7FF8000000000000)
_TEXT_BYTES = 8


class NotComparable(Exception):
    """A version's holdout can't be found in this table; the message says why."""


@dataclass(frozen=True)
class Split:
    """``holdout``: bool mask over the rows, all False when folds judge. ``info``: for the manifest."""

    holdout: NDArray[np.bool_]
    info: dict[str, Any]

    @property
    def by_folds(self) -> bool:
        """Whether the version is judged by folds over all its rows."""
        return bool(self.info["method"] == "folds")


def split(
    frame: pd.DataFrame,
    types: Mapping[str, ColumnType],
    validation: messages.Validation,
    model: str,
    classes: NDArray[np.int64] | None,
) -> Split:
    """Choose the holdout of a table whose rows all have a target.

    ``classes`` are the rows' class indices, None for a regression. Raises errors.TrainingFailed
    when ``order_by`` can't order the rows.
    """
    if validation.order_by is not None and validation.holdout > 0:
        return _by_order(frame, types, validation.order_by, validation.holdout)
    columns = sorted(types)
    kinds = {name: types[name] for name in columns}
    info = {"method": "hash", "share": validation.holdout, "columns": columns, "types": kinds}
    mask = _below(row_hashes(frame, types, columns, model), validation.holdout)
    if validation.holdout == 0 or not _judges(mask, classes):
        return Split(np.zeros(len(frame), dtype=np.bool_), {"method": "folds", "rows": len(frame)})
    return Split(mask, {**info, "rows": int(mask.sum())})


def kept_out(
    frame: pd.DataFrame, types: Mapping[str, ColumnType], info: Mapping[str, Any], model: str
) -> NDArray[np.bool_]:
    """The rows of a table that a version with this manifest ``info`` was not trained on.

    Raises NotComparable when the table can't tell.
    """
    method = info.get("method")
    if method == "hash":
        columns = list(info["columns"])
        if not set(columns) <= set(types):
            raise NotComparable("it was trained on columns that this table does not have")
        # A missing number and an empty text hash differently: the same row would fall on another side.
        had = info.get("types", {})  # older manifests have none
        if any(types[name] != had.get(name, types[name]) for name in columns):
            raise NotComparable("this table has one of the columns it was trained on in another type")
        return _below(row_hashes(frame, types, columns, model), float(info["share"]))
    if method == "order":
        name = str(info["order_by"])
        if types.get(name) != info["type"]:
            raise NotComparable("this table does not have the column that ordered its rows")
        return _order_values(frame, types, name) >= float(info["from"])
    raise NotComparable("it was judged by folds and trained on every row it had")


def row_hashes(
    frame: pd.DataFrame, types: Mapping[str, ColumnType], columns: Sequence[str], salt: str
) -> NDArray[np.uint64]:
    """One 64-bit hash per row over the typed cells of ``columns``, equal for equal rows.

    Numbers, booleans and dates enter by value (-0.0 as 0.0), texts by a keyed BLAKE2b of each
    different value; columns are mixed by the finaliser of SplitMix64 (Steele et al. 2014).
    """
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    total = np.full(len(frame), _text_hash("", key), dtype=np.uint64)
    for name in columns:
        cells = _cell_hashes(frame[name], types[name], key)
        total = _mix(total ^ _mix(cells + np.uint64(_text_hash(name, key))))
    return total


def _cell_hashes(column: pd.Series[Any], kind: ColumnType, key: bytes) -> NDArray[np.uint64]:
    if kind == "text":
        codes, different = column.factorize()
        hashes = np.array([_text_hash(str(one), key) for one in different] or [0], dtype=np.uint64)
        found: NDArray[np.uint64] = hashes[codes]
        return found
    if kind == "date":
        return column.to_numpy(dtype="datetime64[us]").view(np.uint64)
    numbers = column.to_numpy(dtype=np.float64) + 0.0
    bits: NDArray[np.uint64] = numbers.view(np.uint64)
    return np.where(np.isnan(numbers), _MISSING_NUMBER, bits)


def _text_hash(text: str, key: bytes) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_TEXT_BYTES, key=key)
    return int.from_bytes(digest.digest(), "little")


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed


def _below(hashes: NDArray[np.uint64], share: float) -> NDArray[np.bool_]:
    # 53 bits are what a float64 holds exactly.
    below: NDArray[np.bool_] = (hashes >> np.uint64(11)).astype(np.float64) / 2.0**53 < share
    return below


def _judges(mask: NDArray[np.bool_], classes: NDArray[np.int64] | None) -> bool:
    """Whether a holdout says something: enough rows on both sides, and no class missing there."""
    if mask.sum() < MIN_HOLDOUT_ROWS or (~mask).sum() < MIN_HOLDOUT_ROWS:
        return False
    if classes is None:
        return True
    learnt, judged, known = (len(np.unique(one)) for one in (classes[~mask], classes[mask], classes))
    return learnt >= 2 and (len(mask) >= TINY_ROWS or learnt == judged == known)


def _by_order(frame: pd.DataFrame, types: Mapping[str, ColumnType], name: str, share: float) -> Split:
    if name not in types:
        raise errors.TrainingFailed("the table has no column of the name in validation.order_by")
    if types[name] not in ("number", "date"):
        raise errors.TrainingFailed("validation.order_by needs a column of dates or numbers")
    values = _order_values(frame, types, name)
    ordered = np.sort(values[np.isfinite(values)])
    wanted = max(1, round(len(frame) * share))
    # Rows of one moment stay together: the boundary belongs to the holdout, unless that takes all.
    later = ordered[ordered > ordered[0]] if len(ordered) else ordered
    if not len(later):
        raise errors.TrainingFailed("validation.order_by needs a column with at least two different values")
    boundary = max(ordered[-wanted] if wanted <= len(ordered) else ordered[0], later[0])
    mask = values >= boundary
    info = {"method": "order", "order_by": name, "type": types[name], "from": float(boundary), "rows": int(mask.sum())}
    return Split(mask, info)


def _order_values(frame: pd.DataFrame, types: Mapping[str, ColumnType], name: str) -> NDArray[np.float64]:
    """The ordering column as float64: microseconds since 1970 for dates; a missing one comes first."""
    if types[name] == "date":
        moments = frame[name].to_numpy(dtype="datetime64[us]")
        return np.where(np.isnat(moments), -np.inf, moments.view(np.int64).astype(np.float64))
    numbers = frame[name].to_numpy(dtype=np.float64)
    return np.where(np.isnan(numbers), -np.inf, numbers)
