"""Rows as tritonclient takes them over HTTP and gRPC, and its answers as plain values."""

from __future__ import annotations

from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton

from tests.acceptance.model_kinds import Kind, Row
from tests.acceptance.stack import Stack


def keyed(stack: Stack) -> dict[str, str]:
    patient = {"X-Request-Timeout-Ms": "20000"}
    return patient | ({"Authorization": f"Bearer {stack.key}"} if stack.key else {})


def column(kind: Kind, rows: list[Row], name: str) -> tuple[str, Any]:
    """A column as tritonclient takes it: datatype and array."""
    cells = [row[list(kind.types).index(name)] for row in rows]
    if kind.types[name] in ("text", "date"):
        return "BYTES", np.array([(cell or "").encode() for cell in cells], dtype=object)
    if kind.types[name] == "boolean" and None not in cells:
        return "BOOL", np.array(cells)
    return "FP64", np.array(cells, dtype=np.float64)


def http_tensors(kind: Kind, rows: list[Row], binary: bool) -> list[triton.InferInput]:
    if not kind.mixed:
        table = np.array(rows)
        one = triton.InferInput("x", table.shape, "FP64")
        return [one.set_data_from_numpy(table, binary_data=binary)]
    found = []
    for name in reversed(list(kind.types)):
        datatype, values = column(kind, rows, name)
        one = triton.InferInput(name, [len(rows), 1], datatype)
        if not binary and datatype == "FP64" and np.isnan(values).any():
            # JSON has no NaN; tritonclient would write it all the same.
            one.set_data_from_numpy(values.reshape(-1, 1), binary_data=True)
        else:
            one.set_data_from_numpy(values.reshape(-1, 1), binary_data=binary)
        found.append(one)
    return found


def labels(answer: triton.InferResult, name: str = "predict") -> list[Any]:
    return [each.decode() if isinstance(each, bytes) else each for each in answer.as_numpy(name).tolist()]


def grpc_values(answer: triton_grpc.InferResult, name: str) -> Any:
    """An output as an array; of typed ones tritonclient reads no numbers, as it sends none."""
    told = answer.get_response()
    if told.raw_output_contents:
        return answer.as_numpy(name)
    (output,) = (one for one in told.outputs if one.name == name)
    ((_, values),) = output.contents.ListFields()
    return np.array(list(values), dtype=object if output.datatype == "BYTES" else None).reshape(list(output.shape))


CONTENTS = {"FP64": "fp64_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}


def grpc_tensors(kind: Kind, rows: list[Row], typed: bool) -> list[triton_grpc.InferInput]:
    """The same columns as gRPC's client takes them; typed is what it has no call for, but the protocol has."""
    columns = [(name, *column(kind, rows, name)) for name in reversed(list(kind.types))]
    arrays = [(name, datatype, values.reshape(-1, 1)) for name, datatype, values in columns]
    if not kind.mixed:
        arrays = [("x", "FP64", np.array(rows))]
    found = []
    for name, datatype, values in arrays:
        one = triton_grpc.InferInput(name, values.shape, datatype)
        if typed:
            getattr(one._get_tensor().contents, CONTENTS[datatype]).extend(values.flatten().tolist())
        else:
            one.set_data_from_numpy(values)
        found.append(one)
    return found
