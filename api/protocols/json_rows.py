"""JSON bodies of other protocols, read without decoding their rows.

Beside the protocols: a body comes in as a struct whose rows are raw; rows and named tensors go out as
what a prediction asks for.
"""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn, TypeVar

import msgspec

from api import bodies, nesting, shapes
from api.predict.envelope import Asked
from api.protocols import references
from wire import datatypes, errors, frames

T = TypeVar("T")

MAX_DEPTH = 32
"""Deepest nesting of a body."""
MAX_TENSORS = 4096
"""Most tensors of one request; a model has one for each of its columns at most."""
MAX_NAME = 1024
"""Most characters of a tensor's name."""
ABSENT = msgspec.Raw(b"")
"""A member that was not sent."""

_names = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Rows(NamedTuple):
    """Rows as they travel: their bytes, what they are, and an upper bound of their number."""

    data: bytes | memoryview
    encoding: frames.Encoding
    rows: int
    tensors: tuple[frames.Tensor, ...] = ()


def envelope(raw: bytes, decoder: msgspec.json.Decoder[T], kind: type[T]) -> T:
    """The body as ``kind``. Raises errors.MalformedBody and errors.BadInput; repeated keys are not seen."""
    try:
        found = decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _refuse(raw, kind, error)
    if nesting.openings(raw) > MAX_DEPTH or not raw.isascii():
        bodies.check_text(raw, MAX_DEPTH)
    return found


def _refuse(raw: bytes, kind: Any, error: Exception) -> NoReturn:
    bodies.check_text(raw, MAX_DEPTH)
    bodies.check_strictly(raw)
    if isinstance(error, msgspec.ValidationError):
        raise shapes.explain(error, kind) from None
    raise errors.MalformedBody("The body is not JSON.") from None


def wrong(at: str, problem: str) -> errors.BadInput:
    """The error for one place of a body."""
    return errors.BadInput("The body does not have the expected shape.", errors=[errors.FieldError(at, problem)])


def listed(raw: bytes, rows: msgspec.Raw, at: str) -> Rows:
    """An array of rows, which are arrays or objects; ``raw`` is the whole body. Raises errors.BadInput."""
    data = memoryview(rows)
    if bytes(data[:1]) != b"[":
        raise wrong(at, "must be an array of rows")
    bodies.check_around(raw, [data])
    return Rows(data, "json", max(1, nesting.openings(bytes(data)) - 1))


def named(raw: bytes, tensors: msgspec.Raw, at: str) -> Rows:
    """Tensors by name, without datatypes; or an array of rows. Raises errors.BadInput."""
    if bytes(memoryview(tensors)[:1]) != b"{":
        return listed(raw, tensors, at)
    found = _names.decode(tensors)
    if len(found) > MAX_TENSORS or max(map(len, found), default=0) > MAX_NAME:
        raise wrong(at, f"must have at most {MAX_TENSORS} names, each of at most {MAX_NAME} characters")
    parts = [memoryview(each) for each in found.values()]
    if not parts or any(bytes(part[:1]) != b"[" for part in parts):
        raise wrong(at, "must be an array of rows, or an object with an array for each name")
    bodies.check_around(raw, parts)
    described = tuple(
        frames.Tensor(name, datatypes.UNTYPED, (), len(part)) for name, part in zip(found, parts, strict=True)
    )
    data = b"".join(parts)
    return Rows(data, "tensors", 1 + data.count(b","), described)


def asked(model: str, version: str | None, rows: Rows, note: Any = None) -> Asked:
    """What is asked of a model and its version, as a path names them. Raises errors.NotFound kinds."""
    number, alias = references.version(version)
    name = references.model(model)
    return Asked(name, number, alias, rows.data, False, rows.rows, rows.encoding, rows.tensors, (), note)
