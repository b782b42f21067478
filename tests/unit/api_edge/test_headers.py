"""Request ids and deadlines: what is taken from a caller."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import headers
from wire import errors
from wire.settings import Predict


@pytest.mark.parametrize("given_id", [b"a", b"0af7651916cd43dd8448eb211c80319c", b"a.b:c_d-e", b"x" * 128])
def test_a_sane_id_is_kept(given_id: bytes) -> None:
    assert headers.request_id(given_id) == given_id.decode()


@pytest.mark.parametrize("given_id", [None, b"", b"x" * 129, b"a b", b"a\n", b'"', b"-a", b"\xff", b"a;b", b"../x"])
def test_any_other_is_replaced(given_id: bytes | None) -> None:
    assert headers.request_id(given_id) != headers.request_id(given_id)


@given(st.binary(max_size=200))
def test_an_id_is_always_safe_in_json_and_headers(given_id: bytes) -> None:
    made = headers.request_id(given_id)
    assert made.isascii()
    assert made.isprintable()
    assert '"' not in made
    assert "\\" not in made
    assert 1 <= len(made) <= 128


def test_the_deadline_has_a_default_and_bounds() -> None:
    limits = Predict()
    assert headers.timeout_s(None, limits) == 2.0
    assert headers.timeout_s(b" 150 ", limits) == 0.15
    assert headers.timeout_s(b"30000", limits) == 30.0


@pytest.mark.parametrize("value", [b"", b"0", b"-1", b"1.5", b"30001", b"abc", b"9" * 5000, b"\xb2", b"1e3"])
def test_other_deadlines_are_refused(value: bytes) -> None:
    with pytest.raises(errors.BadInput) as caught:
        headers.timeout_s(value, Predict())
    assert caught.value.errors[0].at == "X-Request-Timeout-Ms"
