"""The wire format as it is written down: a peer of this version must read and write exactly this.

A change that breaks one of these needs a new schema version, not a new golden file.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from tests.contract import examples
from wire import errors, frames, messages

GOLDEN = Path(__file__).parent / "golden"
HEADERS = [(frames.BATCH_TYPE, examples.BATCH), (frames.REPLY_TYPE, examples.REPLY)]


def golden(kind: str) -> bytes:
    """The body as it travels; the files are indented for people."""
    text = (GOLDEN / f"{kind}.v{messages.SCHEMA}.json").read_text()
    return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False).encode()


def kinds(root: type[messages.Message] = messages.Message) -> list[type[messages.Message]]:
    return [found for kind in root.__subclasses__() for found in (kind, *kinds(kind))]


def named(value: object) -> str:
    return value.TYPE if isinstance(value, messages.Message) else ""


def test_every_message_has_an_example_and_a_type_of_its_own() -> None:
    assert {type(example) for example in examples.MESSAGES} == set(kinds())
    assert len({kind.TYPE for kind in kinds()}) == len(kinds())


def test_every_golden_file_belongs_to_a_message() -> None:
    expected = {named(example) for example in examples.MESSAGES} | {kind for kind, _ in HEADERS}
    assert {file.name for file in GOLDEN.iterdir()} == {f"{kind}.v{messages.SCHEMA}.json" for kind in expected}


@pytest.mark.parametrize("example", examples.MESSAGES, ids=named)
class TestMessages:
    def test_is_written_as_the_golden_file_says(self, example: messages.Message) -> None:
        assert example.encode() == golden(example.TYPE)

    def test_is_read_from_the_golden_file(self, example: messages.Message) -> None:
        assert type(example).decode(golden(example.TYPE)) == example

    def test_fields_of_a_newer_peer_are_ignored(self, example: messages.Message) -> None:
        newer = json.loads(golden(example.TYPE)) | {"from_the_future": {"x": 1}}
        assert type(example).decode(json.dumps(newer).encode()) == example

    def test_another_schema_version_is_refused(self, example: messages.Message) -> None:
        newer = json.loads(golden(example.TYPE)) | {"schema": messages.SCHEMA + 1}
        with pytest.raises(errors.MalformedBody, match="schema"):
            type(example).decode(json.dumps(newer).encode())

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"schema":"1"}', b"[" * 100_000, b'"\xff"'])
    def test_anything_else_is_malformed(self, example: messages.Message, body: bytes) -> None:
        with pytest.raises(errors.MalformedBody):
            type(example).decode(body)


@pytest.mark.parametrize(("kind", "header"), HEADERS, ids=[kind for kind, _ in HEADERS])
def test_the_header_of_a_frame_is_written_as_the_golden_file_says(kind: str, header: msgspec.Struct) -> None:
    assert msgspec.json.encode(header) == golden(kind)
    assert msgspec.json.decode(golden(kind), type=type(header)) == header
