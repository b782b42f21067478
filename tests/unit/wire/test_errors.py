import pytest

from wire import errors


def test_every_error_travels_as_itself() -> None:
    for code, kind in errors.REGISTERED.items():
        sent = kind("why", errors=[errors.FieldError("at", "problem")], hint="do this")
        got = errors.from_body(sent.to_body())
        assert (type(got), got.code, got.message, got.errors, got.hint) == (
            kind, code, "why", (errors.FieldError("at", "problem"),), "do this",
        )  # fmt: skip


def test_an_unknown_code_of_a_newer_peer_is_an_internal_error() -> None:
    assert type(errors.from_body(errors.ErrorBody("brand_new", "?"))) is errors.InternalError


def test_the_default_message_is_the_first_line_of_the_docstring() -> None:
    assert str(errors.ModelNotFound()) == "There is no model of this name."


def test_only_so_many_field_errors_travel() -> None:
    many = [errors.FieldError(str(number), "wrong") for number in range(100)]
    assert len(errors.BadInput(errors=many).errors) == errors.MAX_FIELD_ERRORS


@pytest.mark.parametrize("kind", [errors.Unroutable, errors.Overloaded, errors.DeadlineExceeded])
def test_what_nobody_answered_does_not_travel_as_an_answer(kind: type[errors.WarrenError]) -> None:
    assert type(errors.from_body(kind().to_body())) is errors.InternalError
