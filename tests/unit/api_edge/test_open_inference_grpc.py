"""Messages of the Open Inference Protocol over gRPC: what is read of them, and what is written."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from typing import Any
from urllib.parse import unquote

import pytest

from api import problems
from api.predict.batches import Answer
from api.predict.envelope import Asked
from api.protocols.open_inference import metadata
from api.protocols.open_inference_grpc import contents, framing, reading, writing
from api.protocols.open_inference_grpc import open_inference_pb2 as messages
from api.protocols.open_inference_grpc.infer import MODEL_INFER
from tests.source_tree import CHECKOUT
from wire import datatypes, errors, frames
from wire.settings import Settings

TYPED: list[tuple[str, str, list[Any], bytes]] = [
    ("BOOL", "bool_contents", [True, False], b"\x01\x00"),
    ("INT8", "int_contents", [-128, 127], struct.pack("<2b", -128, 127)),
    ("INT16", "int_contents", [-2, 300], struct.pack("<2h", -2, 300)),
    ("INT32", "int_contents", [-2, 70_000], struct.pack("<2i", -2, 70_000)),
    ("INT64", "int64_contents", [-2, 2**40], struct.pack("<2q", -2, 2**40)),
    ("UINT8", "uint_contents", [0, 255], b"\x00\xff"),
    ("UINT16", "uint_contents", [0, 65_535], struct.pack("<2H", 0, 65_535)),
    ("UINT32", "uint_contents", [0, 2**32 - 1], struct.pack("<2I", 0, 2**32 - 1)),
    ("UINT64", "uint64_contents", [0, 2**64 - 1], struct.pack("<2Q", 0, 2**64 - 1)),
    ("FP32", "fp32_contents", [0.5, float("inf")], struct.pack("<2f", 0.5, float("inf"))),
    ("FP64", "fp64_contents", [0.1, -2.5], struct.pack("<2d", 0.1, -2.5)),
    ("BYTES", "bytes_contents", [b"Graz", b""], b"\x04\x00\x00\x00Graz\x00\x00\x00\x00"),
]


def request(datatype: str = "FP64", shape: tuple[int, ...] = (2, 1), **given: Any) -> messages.ModelInferRequest:
    message = messages.ModelInferRequest(model_name="m", **given)
    message.inputs.add(name="x", datatype=datatype, shape=shape)
    return message


def read(message: messages.ModelInferRequest, max_rows: int = 100) -> Asked:
    return MODEL_INFER.read(framing.body(message.SerializeToString()), {}, max_rows)


def refusal(message: messages.ModelInferRequest) -> tuple[str, str]:
    with pytest.raises(errors.BadInput) as caught:
        read(message)
    (field,) = caught.value.errors
    return field.at, field.problem


@pytest.mark.parametrize(("datatype", "field", "values", "raw"), TYPED)
def test_typed_contents_are_the_same_bytes_as_raw_ones(datatype: str, field: str, values: Any, raw: bytes) -> None:
    typed = request(datatype)
    getattr(typed.inputs[0].contents, field).extend(values)
    bare = request(datatype, raw_input_contents=[raw])
    one, other = read(typed), read(bare)
    assert (bytes(one.instances), one.tensors) == (bytes(other.instances), other.tensors)
    assert one.tensors == (frames.Tensor("x", datatype, (2, 1), len(raw), "raw"),)
    assert (one.note.typed, other.note.typed) == (True, False)
    back = messages.InferTensorContents()
    contents.fill(back, datatype, memoryview(raw))
    assert list(getattr(back, field)) == values


def test_every_datatype_is_typed_but_half_a_float() -> None:
    assert {one[0] for one in TYPED} == datatypes.DATATYPES - {"FP16"}
    assert refusal(request("FP16")) == ("inputs[0].contents", "cannot hold FP16; send it in raw_input_contents")
    assert read(request("FP16", raw_input_contents=[b"\x00<\x00@"])).tensors[0].size_bytes == 4


def test_who_is_asked_for_what() -> None:
    message = request(raw_input_contents=[b"x" * 16, b"y" * 2], model_version="beta", id="42")
    message.inputs.add(name="y", datatype="BOOL", shape=[2])
    message.outputs.add(name="predict_proba")
    asked = read(message)
    assert (asked.model, asked.version, asked.alias) == ("m", 0, "beta")
    assert (bytes(asked.instances), asked.rows_bound, asked.encoding) == (b"x" * 16 + b"y" * 2, 2, "tensors")
    assert (asked.probabilities, asked.outputs) == (True, (frames.Wanted("predict_proba", "raw"),))
    message.model_version = "3"
    assert read(message).version == 3
    message.model_version = ""
    del message.outputs[:]
    asked = read(message)
    assert (asked.alias, asked.outputs) == ("champion", (frames.Wanted("predict", "raw"),))


def test_raw_contents_exclude_typed_ones() -> None:
    both = request(raw_input_contents=[b"x" * 16])
    both.inputs[0].contents.fp64_contents.extend([1, 2])
    assert refusal(both) == ("inputs[0].contents", "must be left out where raw_input_contents has the data")
    two = request(raw_input_contents=[b"", b""])
    assert refusal(two) == ("raw_input_contents", "must have an element for each of the 1 inputs")


def test_what_is_wrong_is_named() -> None:
    assert refusal(messages.ModelInferRequest(model_name="m"))[0] == "inputs"
    assert refusal(request("DOUBLE"))[0] == "inputs[0].datatype"
    assert refusal(request(id="x" * 1025))[0] == "id"
    for shape in ((), (0, 1), (1, 1, 1), (-1, 1), (2**31, 1)):
        assert refusal(request(shape=shape))[0] == "inputs[0].shape"
    few = request()
    few.inputs[0].contents.fp64_contents.append(1)
    assert refusal(few) == ("inputs[0].contents.fp64_contents", "must hold 2 elements for the tensor's shape")
    few.inputs[0].contents.fp32_contents.append(1)
    assert refusal(few) == ("inputs[0].contents.fp32_contents", "must be left out: FP64 data belongs in fp64_contents")
    large = request("INT8")
    large.inputs[0].contents.int_contents.extend([1, 128])
    assert refusal(large)[1] == "holds a number that is out of the range of INT8"
    for names in (["other"], ["predict", "predict"]):
        wanted = request(raw_input_contents=[b"x" * 16])
        for name in names:
            wanted.outputs.add(name=name)
        assert refusal(wanted)[0] == f"outputs[{len(names) - 1}].name"


def test_what_is_not_offered_is_said() -> None:
    message = request(raw_input_contents=[b"x" * 16])
    message.inputs[0].parameters["shared_memory_region"].string_param = "mine"
    assert refusal(message)[0] == "inputs[0].parameters.shared_memory_region"
    message = request(raw_input_contents=[b"x" * 16])
    message.outputs.add(name="predict").parameters["classification"].int64_param = 3
    assert refusal(message)[0] == "outputs[0].parameters.classification"


def test_too_many_rows_no_name_and_no_message_are_errors_of_their_own() -> None:
    with pytest.raises(errors.TooLarge):
        read(request(raw_input_contents=[b"x" * 16]), max_rows=1)
    for name in ("", "UPPER", "a/b"):
        message = request()
        message.model_name = name
        with pytest.raises(errors.ModelNotFound):
            read(message)
    message = request(model_version="999999999999")
    with pytest.raises(errors.VersionNotFound):
        read(message)
    for junk in (b"\xff", b"{}", b"\x0a\x02\xff\xfe", b"\x0a\x7fx"):
        with pytest.raises(errors.MalformedBody, match="ModelInferRequest"):
            MODEL_INFER.read(framing.body(junk), {}, 100)


def answered(typed: bool, *outputs: frames.Output, data: bytes) -> messages.ModelInferResponse:
    wanted = tuple(frames.Wanted(one.name, "raw") for one in outputs)
    note = reading.Note("42", typed)
    asked = Asked("m", 0, "champion", b"", False, 2, "tensors", (), wanted, note)
    given = Answer(3, memoryview(data), 0.0, 0.0, outputs, 2)
    return messages.ModelInferResponse.FromString(bytes(framing.message(MODEL_INFER.answer(asked, given, "id").body)))


def test_outputs_come_back_in_the_form_of_the_request() -> None:
    names = b"\x03\x00\x00\x00y\xc3\xa9\x02\x00\x00\x00no"
    shares = struct.pack("<4d", 0.25, 0.75, 1, 0)
    outputs = (
        frames.Output("predict", "BYTES", (2,), len(names)),
        frames.Output("predict_proba", "FP64", (2, 2), len(shares)),
    )
    raw = answered(False, *outputs, data=names + shares)
    assert (raw.model_name, raw.model_version, raw.id) == ("m", "3", "42")
    assert [(one.name, one.datatype, list(one.shape)) for one in raw.outputs] == [
        ("predict", "BYTES", [2]),
        ("predict_proba", "FP64", [2, 2]),
    ]
    assert list(raw.raw_output_contents) == [names, shares]
    assert not any(one.HasField("contents") for one in raw.outputs)
    typed = answered(True, *outputs, data=names + shares)
    assert not typed.raw_output_contents
    assert list(typed.outputs[0].contents.bytes_contents) == ["yé".encode(), b"no"]
    assert list(typed.outputs[1].contents.fp64_contents) == [0.25, 0.75, 1, 0]


def test_an_answer_with_other_outputs_is_a_defect() -> None:
    asked = Asked("m", 0, "champion", b"", False, 2, outputs=(frames.Wanted("predict", "raw"),))
    with pytest.raises(errors.InternalError):
        writing.answer(asked, Answer(3, memoryview(b""), 0.0, 0.0, ()))


def test_a_refusal_names_the_field_within_what_a_header_holds() -> None:
    places = [errors.FieldError(f"inputs[{at}].shape", "must be [rows]") for at in range(16)]
    told = status(errors.BadInput(errors=places * 9))
    assert told["grpc-status"] == "3"
    assert "inputs[0].shape must be [rows]" in told["grpc-message"]
    assert len(told["grpc-message"]) <= 2048
    assert status(errors.InternalError("secret")) == {
        "grpc-status": "13",
        "grpc-message": "An unexpected error happened; the log has the details under this request id.",
    }


def status(error: errors.WarrenError) -> dict[str, str]:
    written = MODEL_INFER.refusal(error, "id")
    assert (written.body, written.status) == (b"", 200)
    return {name.decode(): value.decode() for name, value in written.fields}


def test_a_sentence_is_escaped_as_grpc_wants_it() -> None:
    place = errors.FieldError("naïve\n", "is 100% wrong")
    said = status(errors.BadInput(errors=[place]))["grpc-message"]
    assert "na%C3%AFve%0A is 100%25 wrong" in said


@pytest.mark.parametrize("wide", ["列", "я", "%", "\U0001f407"])
def test_a_sentence_is_cut_by_what_it_takes_in_a_header_and_behind_a_whole_character(wide: str) -> None:
    escaped = "".join(f"%{byte:02X}" for byte in wide.encode())
    for before in range(12):
        places = [errors.FieldError(f"inputs[{at}].name", wide * 240) for at in range(16)]
        message = "x" * before + wide * 500
        said = status(errors.BadInput(message, errors=places, hint="Mend it."))["grpc-message"]
        assert len(said) <= 2048
        assert re.fullmatch("(?:[^%]|%[0-9A-F]{2})*", said)
        assert message.startswith(unquote(said, errors="strict")[:500])
        assert said.startswith("x" * before + escaped * min(500, (2048 - before) // len(escaped)))


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 2.0),
        ({b"grpc-timeout": b"1S"}, 1.0),
        ({b"grpc-timeout": b"250m"}, 0.25),
        ({b"grpc-timeout": b"1H"}, 30.0),
        ({b"grpc-timeout": b"1M"}, 30.0),
        ({b"grpc-timeout": b"5000u"}, 0.005),
        ({b"grpc-timeout": b"3n"}, 0.001),
        ({b"grpc-timeout": b"1S", b"x-request-timeout-ms": b"500"}, 0.5),
    ],
)
def test_a_deadline_is_bounded_by_ours(given: dict[bytes, bytes], seconds: float) -> None:
    assert framing.timeout_s(given, Settings().predict) == pytest.approx(seconds)


@pytest.mark.parametrize("given", [b"", b"1", b"S", b"-1S", b"123456789S", b"1.5S", b"1s"])
def test_a_deadline_that_is_none_is_refused(given: bytes) -> None:
    with pytest.raises(errors.BadInput):
        framing.timeout_s({b"grpc-timeout": given}, Settings().predict)


def test_every_status_of_an_error_has_a_code() -> None:
    unknown = {status for status in problems.STATUS.values() if status not in framing.CODES}
    assert unknown == {405, 411, 414, 416, 500, 507}, "for these INTERNAL is right: no call of ours meets them"


def test_metadata_has_names_datatypes_and_shapes() -> None:
    told = writing.model(
        metadata.Model("m", ["1", "2"], "onnxruntime_onnx", [metadata.Tensor("x", "FP64", [-1, 4])], [])
    )
    (tensor,) = told.inputs
    assert (list(told.versions), tensor.name, list(tensor.shape)) == (["1", "2"], "x", [-1, 4])


FIELDS = """
import json, sys, warnings
warnings.simplefilter("ignore")
from {module} import {name} as m
found = m.DESCRIPTOR.message_types_by_name
print(json.dumps({{
    message: {{field.name: [field.number, field.type, field.is_repeated] for field in found[message].fields}}
    for message in {messages}
}}))
"""


def fields(module: str, name: str) -> Any:
    wanted = sorted(messages.DESCRIPTOR.message_types_by_name)
    code = FIELDS.format(module=module, name=name, messages=wanted)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_messages_are_those_of_other_peoples_clients() -> None:
    ours = fields("api.protocols.open_inference_grpc", "open_inference_pb2")
    theirs = fields("tritonclient.grpc", "service_pb2")
    assert len(ours) == 21
    # Of statistics Triton tells more than there is here.
    assert {name: {field: theirs[name].get(field) for field in found} for name, found in ours.items()} == ours
    assert [name for name, found in theirs.items() if found.keys() - ours[name].keys()] == ["ModelStatistics"]


def test_a_replica_that_nobody_asks_like_this_does_not_load_protobuf() -> None:
    code = "import sys, api.app; print([name for name in ('grpc', 'google.protobuf') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=CHECKOUT)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
