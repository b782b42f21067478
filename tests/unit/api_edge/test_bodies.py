"""Strict JSON: what is 400, what is 422, and what an error says and does not say."""

from __future__ import annotations

import tracemalloc
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import bodies, names, refusals
from wire import errors


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["grid", "random"] = "grid"
    folds: Annotated[int, msgspec.Meta(ge=2, le=5)] = 2


class Body(msgspec.Struct, forbid_unknown_fields=True):
    name: names.Name
    inner: Inner | None = None
    items: list[Inner] = []
    table: dict[str, list[int]] = {}
    texts: Annotated[list[str], msgspec.Meta(max_length=2)] = []
    least: Annotated[list[str], msgspec.Meta(min_length=0)] = []
    anything: Any = None
    coded: Annotated[str, msgspec.Meta(pattern="^a$")] = "a"


NOT_JSON = [
    b"",
    b" ",
    b"{",
    b"{}x",
    b"nothing",
    b'{"name":"m",}',
    b'{"name":"m","anything":NaN}',
    b'{"name":"m","anything":-Infinity}',
    b'{"name":"m","coded":"\xff"}',
    b'{"name":"m","coded":"\x01"}',
    b'{"name":"m","anything":"\xed\xa0\x80"}',
    b'\xef\xbb\xbf{"name":"m"}',
    '{"name":"m"}'.encode("utf-16"),
    '{"name":"m"}'.encode("utf-16-le"),
    b"[" * 100_000,
    b'{"name":"m","anything":' + b"[" * 33 + b"]" * 33 + b"}",
    b'{"name":"m","anything":' + b'{"a":' * 990 + b"1" + b"}" * 990 + b"}",
    b'{"name":"m","name":"m"}',
    b'{"name":"m","anything":{"a":1,"a":2}}',
    b'{"name":"m","anything":01}',
    b"{'name':'m'}",
]

WRONG = [
    (b"[]", "body", "must be object, not array"),
    (b"{}", "name", "is required"),
    (b'{"name":3}', "name", "must be str, not int"),
    (b'{"name":"Bad Name"}', "name", "must be a-z"),
    (b'{"name":"m","zzz":1}', "body", "allowed: anything, coded"),
    (b'{"name":"m","x - at `$secret":1}', "body", "allowed: anything, coded"),
    (b'{"name":"m","x - at `$secret.inner":1}', "body", "allowed: anything, coded"),
    (b'{"name":"m","x - at `$.inner.secret":1}', "body", "allowed: anything, coded"),
    (b'{"name":"m","x - at `$.inner secret":1}', "body", "allowed: anything, coded"),
    (b'{"name":"m","inner":{"kind":"secret"}}', "inner.kind", "allowed: grid, random"),
    (b'{"name":"m","inner":{"folds":9}}', "inner.folds", "must be <= 5"),
    (b'{"name":"m","items":[{},{"q":1}]}', "items[1]", "allowed: folds, kind"),
    (b'{"name":"m","table":{"secret":["x"]}}', "table[...][0]", "must be int, not str"),
    (b'{"name":"m","texts":["a","b","c"]}', "texts", "at most 2"),
    (b'{"name":"m","texts":5}', "texts", "must be array, not int"),
    (b'{"name":"m","anything":1e999}', "anything", "out of range"),
    (b'{"name":"m","coded":"secret"}', "coded", "required form"),
    (b'{"name":"m","inner":{"folds":2.5}}', "inner.folds", "must be int, not float"),
]


@pytest.mark.parametrize("raw", NOT_JSON, ids=lambda raw: repr(raw[:40]))
def test_what_is_no_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(errors.MalformedBody):
        bodies.decode(raw, Body)


@pytest.mark.parametrize(("raw", "at", "problem"), WRONG)
def test_a_wrong_shape_is_named_by_place_and_rule(raw: bytes, at: str, problem: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        bodies.decode(raw, Body)
    assert caught.value.errors[0].at == at
    assert problem in caught.value.errors[0].problem
    assert "secret" not in f"{caught.value.message}{caught.value.errors}"


@pytest.mark.parametrize(
    "value", [b'"\\ud800"', b'{"\\udfff":1}', b"[" + b"9" * 5000 + b"]"], ids=["value", "key", "integer"]
)
def test_json_that_no_text_or_number_can_hold_is_422(value: bytes) -> None:
    with pytest.raises(errors.BadInput):
        bodies.decode(b'{"name":"m","anything":' + value + b"}", Body)


def test_good_json_is_read() -> None:
    body = bodies.decode('{"name":"m","anything":"é\\ud83d\\ude00","inner":{"kind":"random"}}'.encode(), Body)
    assert (body.name, body.anything, body.inner) == ("m", "é\U0001f600", Inner("random"))


def test_depth_32_is_allowed() -> None:
    raw = b'{"name":"m","anything":' + b"[" * 31 + b"]" * 31 + b"}"
    assert bodies.decode(raw, Body).name == "m"


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    with pytest.raises((errors.MalformedBody, errors.BadInput)):
        bodies.decode(raw, Body)


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", 'application/json;charset="UTF-8"']
)
def test_json_in_utf8_is_accepted(content_type: str) -> None:
    bodies.check_json_type(content_type, "")
    bodies.check_json_type(content_type, "identity")


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("", ""),
        ("text/plain", ""),
        ("application/json; charset=utf-16", ""),
        ("application/json", "gzip"),
        ("application/xml", ""),
    ],
)
def test_other_content_is_refused(content_type: str, encoding: str) -> None:
    with pytest.raises(refusals.UnsupportedMedia):
        bodies.check_json_type(content_type, encoding)


@pytest.mark.parametrize("text", ["", "A", "a b", "a\n", "-a", "a" * 65, "\u00e9", "..", "a/b", "\u0430", "a\x00"])
def test_bad_names_are_refused(text: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        names.name(text, "model")
    assert caught.value.errors[0].at == "model"
    with pytest.raises(errors.BadInput):
        bodies.decode(msgspec.json.encode({"name": text}), Body)


@pytest.mark.parametrize("text", ["a", "0", "a-b_c", "a" * 64])
def test_good_names_are_kept(text: str) -> None:
    assert names.name(text, "model") == text


@pytest.mark.parametrize("text", ["0", "-1", "01", "1.0", "x", "", "2147483648", "\u0661", "9" * 400])
def test_bad_versions_are_refused(text: str) -> None:
    with pytest.raises(errors.BadInput):
        names.version(text)


def test_versions_are_numbers() -> None:
    assert (names.version("1"), names.version("2147483647")) == (1, 2**31 - 1)


def test_a_body_is_not_made_twice_at_once() -> None:
    """Both its strict check and its value take thirty times what it has; the former is over before the latter."""
    raw = b'{"name":"m","anything":[' + b",".join([b"{}"] * 100_000) + b"]}"
    tracemalloc.start()
    try:
        body = bodies.decode(raw, Body)
        kept_bytes, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body.anything) == 100_000
    assert most_bytes < 1.5 * kept_bytes
