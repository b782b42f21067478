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
HEADERS = [
    (frames.BATCH_TYPE, 1, examples.BATCH),
    (frames.REPLY_TYPE, 1, examples.REPLY),
    (frames.BATCH_TYPE, 2, examples.ENCODED_BATCH),
    (frames.REPLY_TYPE, 2, examples.ENCODED_REPLY),
]


def golden(kind: str, schema: int = messages.SCHEMA) -> bytes:
    """The body as it travels; the files are indented for people."""
    text = (GOLDEN / f"{kind}.v{schema}.json").read_text()
    return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False).encode()


def kinds(root: type[messages.Message] = messages.Message) -> list[type[messages.Message]]:
    return [found for kind in root.__subclasses__() for found in (kind, *kinds(kind))]


def named(value: object) -> str:
    return value.TYPE if isinstance(value, messages.Message) else ""


def test_every_message_has_an_example_and_a_type_of_its_own() -> None:
    assert {type(example) for example in examples.MESSAGES} == set(kinds())
    assert len({kind.TYPE for kind in kinds()}) == len(kinds())


def test_every_golden_file_belongs_to_a_message() -> None:
    expected = {f"{named(example)}.v{messages.SCHEMA}.json" for example in examples.MESSAGES}
    expected |= {f"{kind}.v{schema}.json" for kind, schema, _ in HEADERS}
    assert {file.name for file in GOLDEN.iterdir()} == expected


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


@pytest.mark.parametrize(("kind", "schema", "header"), HEADERS)
def test_the_header_of_a_frame_is_written_as_the_golden_file_says(
    kind: str, schema: int, header: msgspec.Struct
) -> None:
    assert msgspec.json.encode(header) == golden(kind, schema)
    assert msgspec.json.decode(golden(kind, schema), type=type(header)) == header


def test_a_peer_that_knows_only_the_first_schema_refuses_the_second() -> None:
    """Whoever cannot read an encoding must not answer as if it were rows in JSON."""
    assert json.loads(golden(frames.BATCH_TYPE, 2))["schema"] == 2
    assert "schema" not in json.loads(golden(frames.BATCH_TYPE, 1))
