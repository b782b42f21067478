"""The envelope of a prediction: rows pass undecoded, everything around them is checked."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.predict import envelope
from tables import rows
from tables.columns import Column
from tables.errors import NotJson, RowErrors, TooManyRows
from tables.schema import Schema
from wire import errors


def test_rows_are_the_bytes_that_came() -> None:
    asked = envelope.read(b'{"instances": [[1, 2.50],[null ,"x"]] , "model":"m"}', 10)
    assert bytes(asked.instances) == b'[[1, 2.50],[null ,"x"]]'
    assert (asked.model, asked.version, asked.alias, asked.probabilities) == ("m", 0, "champion", False)


@pytest.mark.parametrize(
    ("member", "version", "alias"),
    [(b'"version":3', 3, ""), (b'"version":"beta"', 0, "beta"), (b'"version":null', 0, "champion")],
)
def test_a_version_is_a_number_or_an_alias(member: bytes, version: int, alias: str) -> None:
    asked = envelope.read(b'{"model":"m","instances":[[1]],' + member + b',"probabilities":true}', 10)
    assert (asked.version, asked.alias, asked.probabilities) == (version, alias, True)


NOT_JSON = [
    b"",
    b"[[1]]x",
    b'{"model":"m","instances":[[NaN]]}',
    b'{"model":"m","instances":[[Infinity]]}',
    b'{"model":"m","instances":[["\xff"]]}',
    b'\xef\xbb\xbf{"model":"m","instances":[[1]]}',
    '{"model":"m","instances":[[1]]}'.encode("utf-16"),
    b'{"model":"m","instances":[[1],]}',
    b'{"model":"m","instances":' + b"[" * 32 + b"]" * 32 + b"}",
    b'{"model":"m","instances":' + b"[" * 100_000,
    b'{"model":"m","instances":' + b'[{"a":' * 40_000 + b"1" + b"}]" * 40_000 + b"}",
    b'{"model":"m","model":"m","instances":[[1]]}',
    b'{"model":"m","instances":[[1]],"instances":[[1]]}',
    b'{"model":"m","instances":[[1]],"mod\\u0065l":"m"}',
    b'{"model":"m","instances":[[1]],"version":1,"version":2}',
    b'{"model":"m","instances":[[1]],"probabilities":true,"probabilities":false}',
    b'{"model":"m","instances":[[2]],"inst\\u0061nces":[[1]]}',
    b'{"model":"m","instances":2,"instances":[[1]]}',
]


@pytest.mark.parametrize("raw", NOT_JSON, ids=lambda raw: repr(raw[:60]))
def test_what_is_no_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(errors.MalformedBody):
        envelope.read(raw, 10)


WRONG = [
    (b"[]", "body"),
    (b'{"model":"m"}', "instances"),
    (b'{"instances":[[1]]}', "model"),
    (b'{"model":"m","instances":[[1]],"extra":1}', "body"),
    (b'{"model":"M","instances":[[1]]}', "model"),
    (b'{"model":"m\\n","instances":[[1]]}', "model"),
    (b'{"model":"../m","instances":[[1]]}', "model"),
    (b'{"model":3,"instances":[[1]]}', "model"),
    (b'{"model":"m","instances":{}}', "instances"),
    (b'{"model":"m","instances":"[]"}', "instances"),
    (b'{"model":"m","instances":1e999}', "instances"),
    (b'{"model":"m","instances":[[1]],"version":0}', "version"),
    (b'{"model":"m","instances":[[1]],"version":2147483648}', "version"),
    (b'{"model":"m","instances":[[1]],"version":"Beta"}', "version"),
    (b'{"model":"m","instances":[[1]],"version":1.5}', "version"),
    (b'{"model":"m","instances":[[1]],"version":true}', "version"),
    (b'{"model":"m","instances":[[1]],"probabilities":1}', "probabilities"),
]


@pytest.mark.parametrize(("raw", "at"), WRONG)
def test_a_wrong_shape_is_named(raw: bytes, at: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        envelope.read(raw, 10)
    assert caught.value.errors[0].at == at


def test_half_a_surrogate_pair_is_422() -> None:
    with pytest.raises(errors.BadInput):
        envelope.read(b'{"model":"m","instances":[["\\ud800"]]}', 10)


def test_names_that_look_like_keys_are_no_repetition() -> None:
    asked = envelope.read(b'{"model":"model","version":"version","instances":[{"model":1,"instances":[]}]}', 10)
    assert (asked.model, asked.alias) == ("model", "version")


def test_more_rows_than_allowed_are_refused_where_that_is_certain() -> None:
    rows = [[1]] * 11
    with pytest.raises(errors.TooLarge):
        envelope.read(json.dumps({"model": "m", "instances": rows}).encode(), 10)
    texts = [["[[[["]] * 5
    assert envelope.read(json.dumps({"model": "m", "instances": texts}).encode(), 10).rows_bound > 10


CELLS = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10)
ROWS = st.lists(st.lists(CELLS, max_size=4) | st.dictionaries(st.text(max_size=5), CELLS, max_size=4), max_size=6)


@given(ROWS, st.booleans())
def test_any_rows_pass_unchanged(rows: object, ascii_only: bool) -> None:
    raw = json.dumps({"model": "m", "instances": rows}, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    asked = envelope.read(raw, 10_000)
    assert json.loads(bytes(asked.instances)) == rows
    assert asked.rows_bound >= 1


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    with pytest.raises((errors.MalformedBody, errors.BadInput)):
        envelope.read(raw, 10)


USUAL = [
    b'{"model":"m","instances":[[1,2.5],[3,-4e5]]}',
    b'{"instances" : [ [1, null] ] , "version": 3, "model": "m"}',
    b'{"model":"m","probabilities":true,"version":"beta","instances":[{"a":1,"b":"x [ ] { } y"}]}\n',
    '{"model":"m","instances":[{"a":"Zürich"}]}'.encode(),
]


@pytest.mark.parametrize("raw", USUAL)
def test_a_glance_gives_what_reading_gives(raw: bytes) -> None:
    assert envelope.glance(raw, 10) == envelope.read(raw, 10)


UNUSUAL = [
    *(raw for raw, _ in WRONG),
    b'{"model":"m","model":"m","instances":[[1]]}',
    b'{"model":"m","instances":[["\\ud800"]]}',
    b'{"model":"m","instances":[[1]]',
    b'{"model":"m","instances":[[1]]}' + b" " * 2_000,
    b" " * 2_000 + b'{"model":"m","instances":[[1]]}',
    b'{"model":"m","instances":[[1]]}x',
    b'{"model":"m","instances":[',
    json.dumps({"model": "m", "instances": [[1]] * 11}).encode(),
]


@pytest.mark.parametrize("raw", UNUSUAL, ids=lambda raw: repr(raw[:60]))
def test_a_glance_leaves_what_is_unusual_to_reading(raw: bytes) -> None:
    assert envelope.glance(raw, 10) is None


NUMBERS = Schema((Column("a", "number"), Column("b", "number")))
MIXED = Schema((Column("a", "number"), Column("b", "text")))


def _is_told_the_same(raw: bytes) -> None:
    """Whichever way a body goes, the rows are the same, or both ends refuse it."""
    seen = envelope.glance(raw, 10)
    if seen is None:
        return
    with contextlib.suppress(errors.WarrenError):
        assert seen == envelope.read(raw, 10)
        return
    for schema in (NUMBERS, MIXED):
        with pytest.raises((NotJson, RowErrors, TooManyRows)):
            rows.decode_json(seen.instances, schema, max_rows=10)


@pytest.mark.parametrize("raw", NOT_JSON, ids=lambda raw: repr(raw[:60]))
def test_what_a_glance_lets_pass_wrongly_a_predictor_refuses(raw: bytes) -> None:
    _is_told_the_same(raw)


PIECES = st.sampled_from(
    [*(bytes([one]) for one in b'[]{},:"01.-eN\\ \xff'), b"[[", b"]]", b"],[", b'"a"', b'"b":', b"null", b"NaN", b"1,2"]
)


@given(st.lists(PIECES, max_size=12), st.sampled_from([b"", b',"version":1', b',"version":"a]b"']))
def test_no_rows_pass_by_a_glance_that_reading_refuses(pieces: list[bytes], tail: bytes) -> None:
    _is_told_the_same(b'{"model":"m","instances":[' + b"".join(pieces) + b"]" + tail + b"}")


@given(st.integers(0, 60), PIECES, st.sampled_from(USUAL))
def test_no_change_of_a_body_passes_by_a_glance_that_reading_refuses(at: int, piece: bytes, raw: bytes) -> None:
    _is_told_the_same(raw[:at] + piece + raw[at:])
    _is_told_the_same(raw[:at] + piece + raw[at + 1 :])
