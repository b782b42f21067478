"""The envelope of a prediction, read without decoding its rows.

Between the socket and the batches: bytes of a body come in, out goes which model is asked, and
the bytes of ``instances`` as they came. Decoding rows is a predictor's work, where NumPy is, and
so is judging them: ``glance`` reads only what stands around them. What is costly runs only on
bodies that look unusual (``read``), or that got an error, so that a client is told
the same whichever way its body went.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import msgspec

from api import bodies, names, nesting, shapes
from wire import errors, frames

MAX_DEPTH = 32
"""Deepest nesting of a body; design 3."""

Cell = None | bool | float | str
"""One cell of a row; null is a missing one."""


class PredictBody(msgspec.Struct, forbid_unknown_fields=True):
    """What POST /predict takes, as the API document shows it."""

    model: names.Name
    instances: list[list[Cell] | dict[str, Cell]]
    version: names.VersionNumber | names.Name | None = None
    probabilities: bool = False


class PredictAnswer(msgspec.Struct, omit_defaults=True):
    """What POST /predict answers: one prediction per row, in order, and the version that made them."""

    model: str
    version: int
    predictions: list[Any]
    request_id: str
    probabilities: list[list[float]] | None = None


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    instances: msgspec.Raw
    version: int | str | None = None
    probabilities: bool = False


class Asked(NamedTuple):
    """A prediction asked for: a version, or an alias when ``version`` is 0.

    ``instances`` are the rows as they came, in ``encoding``; ``rows_bound`` is at least their number.
    ``tensors`` and ``outputs`` are those of wire.frames; ``note`` is what the call's form wants to
    know again when it writes the answer.
    """

    model: str
    version: int
    alias: str
    instances: bytes | memoryview
    probabilities: bool
    rows_bound: int
    encoding: frames.Encoding = "json"
    tensors: tuple[frames.Tensor, ...] = ()
    outputs: tuple[frames.Wanted, ...] = ()
    note: Any = None


NOTHING = Asked("", 0, "", b"", False, 0)
"""In place of what was asked, once that has ended: a body must not be kept for as long as others wait."""

CHAMPION = "champion"
"""The alias that answers when no version is named."""

_decoder = msgspec.json.Decoder(_Envelope)
_ROWS = re.compile(rb'"instances"[ \t\r\n]*:[ \t\r\n]*(?=\[)')
_AROUND_BYTES = 1024
"""Most bytes before and behind the rows of a body that ``glance`` reads."""


def glance(raw: bytes, max_rows: int) -> Asked | None:
    """What ``read`` gives for a body as usual, with no look at its rows but for counting; None otherwise.

    The rows end at the last ``]``: behind them nothing valid holds one. Whether they are one JSON
    array is for the predictor to say, which reads them anyhow; a body that it answers with an error
    must be shown to ``read``.
    """
    found = _ROWS.search(raw, 0, _AROUND_BYTES)
    if found is None:
        return None
    start, end = found.end(), raw.rfind(b"]") + 1
    if len(raw) - end > _AROUND_BYTES or end <= start:
        return None
    openings = raw.count(b"[", start, end)
    if raw.find(b"{", start, end) >= 0:
        openings += raw.count(b"{", start, end)
    rows_bound = max(1, openings - 1)
    # An escape may be half of a surrogate pair, which a predictor does not see in a column it ignores.
    if raw.find(b"\\", start, end) >= 0:
        return None
    if rows_bound > max_rows and raw.find(b'"', start, end) < 0:
        return None
    around = _around(raw[:start] + b"0" + raw[end:])
    if around is None:
        return None
    model, version, alias, probabilities = around
    return Asked(model, version, alias, memoryview(raw)[start:end], probabilities, rows_bound)


@lru_cache(maxsize=256)
def _around(rest: bytes) -> tuple[str, int, str, bool] | None:
    """Model, version, alias and probabilities of an envelope without its rows; None if it is not as usual.

    Remembered, since a client writes the same around its rows each time.
    """
    if not _keys_once(rest):
        return None
    try:
        envelope = _decoder.decode(rest)
        version, alias = _reference(envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError, errors.BadInput):
        return None
    return envelope.model, version, alias, envelope.probabilities


def read(raw: bytes, max_rows: int) -> Asked:
    """Read a body.

    Raises errors.MalformedBody (not JSON, not UTF-8, too deep, a repeated key), errors.BadInput
    (wrong shape, with the place) and errors.TooLarge (certainly more than ``max_rows`` rows;
    where only decoding can tell, the predictor does).
    """
    try:
        envelope = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _refuse(raw, error)
    instances = memoryview(envelope.instances)
    openings = nesting.openings(raw)
    if openings > MAX_DEPTH or not raw.isascii():
        bodies.check_text(raw, MAX_DEPTH)
    _check_keys_once(raw, instances)
    version, alias = _reference(envelope)
    if instances[0] != 0x5B:
        raise _wrong("instances", "must be an array of rows")
    rows_bound = max(1, openings - 2)
    if rows_bound > max_rows and b'"' not in bytes(instances):
        raise errors.TooLarge(f"More than {max_rows} rows; upload them as a dataset instead.")
    return Asked(envelope.model, version, alias, instances, envelope.probabilities, rows_bound)


def _refuse(raw: bytes, error: Exception) -> NoReturn:
    """Say precisely why a body was refused."""
    bodies.check_text(raw, MAX_DEPTH)
    bodies.check_strictly(raw)
    if isinstance(error, msgspec.ValidationError):
        raise shapes.explain(error, _Envelope) from None
    raise errors.MalformedBody("The body is not JSON.") from None


def _reference(envelope: _Envelope) -> tuple[int, str]:
    if not names.is_name(envelope.model):
        raise _wrong("model", names.NAME_RULE)
    version = envelope.version
    if version is None:
        return 0, CHAMPION
    if isinstance(version, str):
        if not names.is_name(version):
            raise _wrong("version", f"as an alias {names.NAME_RULE}")
        return 0, version
    if not 1 <= version <= names.VERSION_MAX:
        raise _wrong("version", names.VERSION_RULE)
    return version, ""


def _wrong(at: str, problem: str) -> errors.BadInput:
    return errors.BadInput("The body does not have the expected shape.", errors=[errors.FieldError(at, problem)])


def _check_keys_once(raw: bytes, instances: memoryview) -> None:
    """Refuse an envelope that has a key twice; what is within the rows is the predictor's to see.

    msgspec takes the last of two. The rows are cut out, and what is left is some tens of bytes
    in which each name may stand once; anything unusual goes to the exact check.
    """
    key = raw.find(b'"instances"')
    start = raw.find(b"[", key)
    end = start + len(instances)
    if key >= 0 and start >= 0 and raw[key + 11 : start].strip() == b":" and raw.startswith(instances, start):
        rest = raw[:key] + b'"instances":0' + raw[end:]
        if not _keys_once(rest):
            bodies.check_strictly(rest)
    else:
        bodies.check_strictly(raw)


def _keys_once(rest: bytes) -> bool:
    """Whether each name certainly stands once in an envelope without its rows."""
    return (
        b"\\" not in rest
        and rest.count(b'"model"') == 1
        and rest.count(b'"instances"') == 1
        and rest.count(b'"version"') < 2
        and rest.count(b'"probabilities"') < 2
    )
