import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import datatypes, errors, frames

BLOBS = st.lists(st.binary(max_size=200), max_size=8)


@given(BLOBS)
def test_a_batch_arrives_as_it_was_sent(blobs: list[bytes]) -> None:
    items = tuple(frames.BatchItem(size_bytes=len(blob), remaining_ms=5) for blob in blobs)
    header = frames.BatchHeader(model="m", items=items, version=3)
    got, pieces = frames.decode_batch(frames.encode(header, blobs))
    assert got == header
    assert [bytes(piece) for piece in pieces] == blobs


@given(BLOBS)
def test_a_reply_arrives_as_it_was_sent(blobs: list[bytes]) -> None:
    header = frames.ReplyHeader(items=tuple(frames.ReplyItem(size_bytes=len(blob)) for blob in blobs), version=3)
    got, pieces = frames.decode_reply(frames.encode(header, blobs))
    assert got == header
    assert [bytes(piece) for piece in pieces] == blobs


NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
TENSORS = st.lists(
    st.builds(
        frames.Tensor,
        name=st.one_of(NAMES, st.just("\x01" * 40), st.just('"' * 40)),
        datatype=st.sampled_from([*datatypes.DATATYPES, datatypes.UNTYPED]),
        shape=st.sampled_from([(), (1,), (2**31 - 1, 2**31 - 1)]),
        size_bytes=st.integers(0, 2**31 - 1),
        form=st.sampled_from(["json", "raw"]),
    ),
    max_size=5,
)


@given(st.lists(TENSORS, min_size=1, max_size=5))
def test_a_header_is_never_larger_than_it_is_reckoned(drawn: list[list[frames.Tensor]]) -> None:
    outputs = (frames.Wanted("predict", "raw"), frames.Wanted("predict_proba", "raw"))
    items = tuple(
        frames.BatchItem(2**31 - 1, 10**9, "tensors", True, "r" * 128, tuple(tensors), outputs) for tensors in drawn
    )
    empty = frames.encode(frames.BatchHeader("m", ()), [])
    whole = frames.encode(frames.BatchHeader("m", items), [])
    reckoned = sum(frames.ITEM_BYTES + frames.tensors_bytes(tensors) for tensors in drawn)
    assert len(whole) - len(empty) <= reckoned


def framed(header: bytes, rest: bytes = b"") -> bytes:
    return len(header).to_bytes(4, "little") + header + rest


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x01",
        framed(b"{}"),
        framed(b"not json"),
        framed(b'{"model":"\xff","items":[]}'),
        framed(b'{"model":"m","items":[],"schema":3}'),
        framed(b'{"model":"m","items":[{"size_bytes":5,"remaining_ms":1}]}', b"1234"),
        framed(b'{"model":"m","items":[{"size_bytes":-1,"remaining_ms":1},{"size_bytes":1,"remaining_ms":1}]}'),
        framed(b'{"model":"m","items":[]}', b"left over"),
        framed(b"[" * 100_000),
        b"\xff\xff\xff\xff{}",
    ],
)
def test_what_is_no_frame_is_malformed(body: bytes) -> None:
    with pytest.raises(errors.MalformedBody):
        frames.decode_batch(body)


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_being_malformed(body: bytes) -> None:
    for decode in (frames.decode_batch, frames.decode_reply):
        with contextlib.suppress(errors.MalformedBody):
            decode(body)


def test_the_data_of_tensors_lies_one_after_the_other() -> None:
    tensors = (frames.Tensor("a", "INT8", (2,), 2, "raw"), frames.Tensor("b", "BYTES", (1,), 5))
    assert [bytes(each) for each in frames.split(memoryview(b'\x01\x02["x"]'), tensors)] == [b"\x01\x02", b'["x"]']
    with pytest.raises(errors.MalformedBody):
        frames.split(memoryview(b"\x01\x02"), tensors)


@pytest.mark.parametrize("schema", [frames.SCHEMA, frames.SCHEMA_ENCODINGS])
def test_both_schemas_are_read(schema: int) -> None:
    batch = frames.BatchHeader("m", (frames.BatchItem(2, 5),), schema=schema)
    assert frames.decode_batch(frames.encode(batch, [b"[]"]))[0] == batch
    reply = frames.ReplyHeader((frames.ReplyItem(2),), schema=schema)
    assert frames.decode_reply(frames.encode(reply, [b"[]"]))[0] == reply
