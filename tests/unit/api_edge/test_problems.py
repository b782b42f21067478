"""Errors as HTTP: one table, small documents, nothing of ours or of the caller's in them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from api import problems, refusals
from wire import errors


def every_error() -> list[type[errors.WarrenError]]:
    def below(kind: type[errors.WarrenError]) -> list[type[errors.WarrenError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    return [kind for kind in below(errors.WarrenError) if "code" in vars(kind)]


def test_every_code_has_a_status() -> None:
    assert {kind.code for kind in every_error()} == set(problems.STATUS)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.MalformedBody, 400),
        (errors.BadInput, 422),
        (errors.Unauthenticated, 401),
        (errors.Forbidden, 403),
        (errors.ModelNotFound, 404),
        (errors.TooLarge, 413),
        (refusals.UnsupportedMedia, 415),
        (errors.Overloaded, 429),
        (errors.ModelCorrupt, 409),
        (errors.Unroutable, 503),
        (errors.BrokerUnavailable, 503),
        (errors.DeadlineExceeded, 504),
        (errors.InferenceCrashed, 500),
    ],
)
def test_statuses_are_those_of_the_contract(kind: type[errors.WarrenError], status: int) -> None:
    assert problems.status_of(kind()) == status


def test_a_document_has_every_member() -> None:
    field = errors.FieldError("instances[3].age", "must be a number")
    error = errors.BadInput("The rows do not fit.", errors=[field], hint="Send numbers.")
    assert json.loads(problems.document(error, "r-1")) == {
        "type": "urn:warren:problem:bad_input",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "The rows do not fit.",
        "code": "bad_input",
        "request_id": "r-1",
        "errors": [{"at": "instances[3].age", "problem": "must be a number"}],
        "hint": "Send numbers.",
    }


def test_an_internal_error_says_nothing_of_ours() -> None:
    told = problems.document(errors.InternalError("password in /var/secrets"), "r-1")
    assert b"secrets" not in told


def test_a_code_without_a_status_is_a_defect() -> None:
    class Unheard(errors.Answered):
        """Nobody knows this."""

        code = "unheard_of"

    try:
        assert problems.status_of(Unheard()) == 500
        assert json.loads(problems.document(Unheard(), "r"))["code"] == "internal_error"
    finally:
        del Unheard


TEXT = st.text(max_size=3000)


@given(TEXT, st.lists(st.builds(errors.FieldError, TEXT, TEXT), max_size=40), TEXT)
def test_no_document_is_larger_than_4_kb(message: str, fields: list[errors.FieldError], hint: str) -> None:
    told = problems.document(errors.BadInput(message, errors=fields, hint=hint), "x" * 128)
    assert len(told) <= 4096
    assert json.loads(told)["code"] == "bad_input"


def test_even_the_widest_characters_fit() -> None:
    fields = [errors.FieldError("\x01" * 500, "\x02" * 500)] * 16
    told = problems.document(errors.BadInput("\x03" * 5000, errors=fields, hint="\x04" * 5000), "x" * 128)
    assert len(told) <= 4096


@pytest.mark.parametrize("kind", [errors.Overloaded, errors.Unroutable, errors.BrokerUnavailable])
def test_refusals_for_now_say_when_to_come_back(kind: type[errors.WarrenError]) -> None:
    assert 1 <= int(problems.extra_headers(kind())["retry-after"]) <= 3


def test_a_missing_key_names_its_scheme() -> None:
    assert problems.extra_headers(errors.Unauthenticated())["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "not_found"),
        (413, "too_large"),
        (415, "unsupported_media_type"),
        (418, "malformed_body"),
        (503, "internal_error"),
    ],
)
def test_refusals_of_the_framework_are_ours(status: int, code: str) -> None:
    assert problems.from_http(HTTPException(status)).code == code
