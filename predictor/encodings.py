"""The rows of one request, whatever encoding they came in, as typed rows; and its answer as it is wanted.

Between a batch and the inference: here the encodings of ``wire.frames`` meet the decoders of ``tables``
and the writers of answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from model_store.runtime import Output
from predictor import answers, output_tensors
from predictor.loaded import LoadedVersion
from tables import errors as table_errors
from tables import headed, rows, tensors
from tables.batch import Batch
from tables.schema import Schema
from wire import errors, frames


class Asked(NamedTuple):
    """One request of a batch: its rows as they came, whether probabilities are wanted, and in which form."""

    body: bytes | memoryview
    probabilities: bool
    encoding: frames.Encoding = "json"
    tensors: tuple[frames.Tensor, ...] = ()
    outputs: tuple[frames.Wanted, ...] = ()


class Answer(NamedTuple):
    """One request's answer: JSON members, or the data of ``outputs``, and how many rows they answer."""

    members: bytes
    rows: int
    outputs: tuple[frames.Output, ...] = ()


def asked(item: frames.BatchItem, blob: memoryview) -> Asked:
    """One request as a batch has it."""
    return Asked(blob, item.probabilities, item.encoding, item.tensors, item.outputs)


def row_bound(asked: Asked) -> int:
    """About how many rows a request has, without decoding it."""
    if any(tensor.shape for tensor in asked.tensors):
        return max(tensor.shape[0] for tensor in asked.tensors if tensor.shape)
    body = bytes(asked.body)
    if asked.encoding != "json":
        return 1 + max(body.count(b","), body.count(b"\n"))
    # A row opens with a bracket or a brace; so does the list of them.
    return max(1, body.count(b"[") + body.count(b"{") - 1)


def decode(schema: Schema, asked: Asked, max_rows: int) -> Batch | errors.WarrenError:
    """The typed rows of a request, or what is wrong with them."""
    try:
        return _DECODERS[asked.encoding](schema, asked, max_rows)
    except table_errors.RowErrors as error:
        found = [errors.FieldError(at, problem) for at, problem in error.errors]
        return errors.BadInput("Some rows cannot be read.", errors=found)
    except table_errors.TooManyRows as error:
        return errors.TooLarge(f"A prediction may have at most {error.max_rows} rows.")
    except table_errors.NotJson as error:
        return errors.MalformedBody(f"The rows cannot be read: {error}.")
    except errors.MalformedBody as error:
        return error
    except MemoryError:
        return no_room()


def no_room() -> errors.TooLarge:
    """The error of a request that needs more memory than the predictor has."""
    return errors.TooLarge("The predictor has too little memory for these rows; ask for fewer at once.")


def encode(version: LoadedVersion, asked: Asked, output: Output, start: int, stop: int) -> Answer:
    """The answer of a request whose rows are those from ``start`` to ``stop`` of an output.

    Raises errors.BadInput and errors.InternalError, as ``answers.encode`` does.
    """
    if not asked.outputs:
        members = answers.encode(version, output, start, stop, probabilities=asked.probabilities)
        return Answer(members, stop - start)
    data, outputs = output_tensors.encode(version, output, start, stop, asked.outputs)
    return Answer(data, stop - start, outputs)


def _json(schema: Schema, asked: Asked, max_rows: int) -> Batch:
    return rows.decode_json(asked.body, schema, max_rows=max_rows)


def _tensors(schema: Schema, asked: Asked, max_rows: int) -> Batch:
    data = frames.split(memoryview(asked.body), asked.tensors)
    found = [
        tensors.Tensor(each.name, each.datatype, each.shape, piece, each.form == "raw")
        for each, piece in zip(asked.tensors, data, strict=True)
    ]
    return tensors.decode(found, schema, max_rows=max_rows)


def _split(schema: Schema, asked: Asked, max_rows: int) -> Batch:
    return headed.decode_split(asked.body, schema, max_rows=max_rows)


def _csv(schema: Schema, asked: Asked, max_rows: int) -> Batch:
    return headed.decode_csv(asked.body, schema, max_rows=max_rows)


_DECODERS: Final[dict[frames.Encoding, Callable[[Schema, Asked, int], Batch]]] = {
    "json": _json,
    "tensors": _tensors,
    "split": _split,
    "csv": _csv,
}
