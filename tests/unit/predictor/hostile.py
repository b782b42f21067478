"""Hostile artefacts, each signed with the right key: what nobody must ever be able to run, or fill a machine with.

Nothing here is copied from a published attack; the schemas are the smallest that express its idea.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto

from model_store.runtime.trusted import PROTOCOL
from tests.unit.predictor.artefacts import regression

Json = dict[str, Any]


class _Payload:
    """Unpickled, it makes the canary."""

    def __init__(self, make: Callable[..., object], *given: str) -> None:
        self.made = (make, given)

    def __reduce__(self) -> Any:
        return self.made


def pickled(canary: Path) -> bytes:
    return pickle.dumps(_Payload(open, str(canary), "w"))


def by_joblib(canary: Path) -> bytes:
    written = io.BytesIO()
    joblib.dump({"model": _Payload(open, str(canary), "w")}, written, compress=3)
    return written.getvalue()


def by_cloudpickle(canary: Path) -> bytes:
    made: bytes = cloudpickle.dumps(_Payload(lambda path: Path(path).touch(), str(canary)))
    return made


# ------------------------------------------------------------------ skops


def archive(schema: Any, packed: bool = False, **arrays: bytes) -> bytes:
    """A skops file of this schema; ``arrays`` are its .npy files by name."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as made:
        for name, content in arrays.items():
            made.writestr(f"{name}.npy", content, compresslevel=1)
        made.writestr("schema.json", json.dumps({"protocol": PROTOCOL, **schema}))
    return written.getvalue()


def node(loader: str, name: str, **more: Any) -> Json:
    module, _, kind = name.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": kind, **more}


def text(value: object) -> Json:
    return node("JsonNode", "builtins.str", content=json.dumps(value))


def several(*content: Json, kind: str = "tuple") -> Json:
    return node(f"{kind.title()}Node", f"builtins.{kind}", content=list(content))


def array(kind: str = "ndarray") -> Json:
    return node("NdArrayNode", f"numpy.{kind}", type="numpy", file="a.npy")


def header(kind: str, *shape: int) -> bytes:
    """A .npy file that promises an array and ends there."""
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"shape": shape, "fortran_order": False, "descr": kind})
    return written.getvalue()


_OPEN = node("TypeNode", "io.open")


def _opening(canary: Path) -> Json:
    return several(text(str(canary)), text("w"))


def _touching(canary: Path, claimed: str = "pathlib.PosixPath") -> Json:
    path = node("ConstructorFromReduceNode", "pathlib.PosixPath", content=several(text(str(canary))))
    return node("MethodNode", claimed, content={"func": "touch", "obj": path})


def calls_an_operator(canary: Path) -> bytes:
    attrs = several(_OPEN, text(str(canary)), text("w"))
    return archive(node("OperatorFuncNode", "operator.call", attrs=attrs))


def calls_a_method(canary: Path) -> bytes:
    return archive(node("OperatorFuncNode", "operator.call", attrs=several(_touching(canary))))


def constructs(canary: Path) -> bytes:
    return archive(node("ConstructorFromReduceNode", "io.open", content=_opening(canary)))


def reduces(canary: Path) -> bytes:
    return archive(node("LossNode", "io.open", __reduce__={"args": _opening(canary)}, content=several(kind="list")))


def turns_a_key(canary: Path) -> bytes:
    keys = several(node("TypeNode", "posix.mkdir"), kind="list")
    return archive(node("DictNode", "builtins.dict", key_types=keys, content={str(canary): text(1)}))


def operator_in_disguise(canary: Path) -> bytes:
    """CVE-2025-54412: the name that is looked at is not the name that is called."""
    attrs = several(_OPEN, text(str(canary)), text("w"))
    return archive(node("OperatorFuncNode", "sklearn.pipeline.call", attrs=attrs))


def method_in_disguise(canary: Path) -> bytes:
    """CVE-2025-54413: the type that is looked at is not the type whose method is taken."""
    touch = _touching(canary, "sklearn.linear_model._ridge.Ridge")
    return archive(node("OperatorFuncNode", "operator.call", attrs=several(touch)))


def trusted_elsewhere(_canary: Path) -> bytes:
    """A type of our list, built by a loader that calls it with what the file says."""
    return archive(node("ConstructorFromReduceNode", "sklearn.pipeline.Pipeline", content=several(text([]))))


def whitelists_itself(canary: Path) -> bytes:
    asked = node("ConstructorFromReduceNode", "io.open", content=_opening(canary))
    return archive({**asked, "trusted": ["io.open"], "trusted_types": ["io.open"]})


def no_bit_generator(_canary: Path) -> bytes:
    state = node("DictNode", "builtins.dict", key_types=several(kind="list"), content={"bit_generator": text("seed")})
    states = {"bit_generator": state, "seed_seq": state}
    return archive(node("RandomGeneratorNode", "numpy.random._generator.Generator", content=states))


def pickle_in_an_array(canary: Path) -> bytes:
    written = io.BytesIO()
    np.save(written, np.array([_Payload(open, str(canary), "w")], dtype=object), allow_pickle=True)
    return archive(array(), a=written.getvalue())


def predicts_nothing(_canary: Path) -> bytes:
    return archive(several(text("I am no estimator")))


def is_half_a_model(_canary: Path) -> bytes:
    attributes = node("DictNode", "builtins.dict", key_types=several(kind="list"), content={})
    return archive(node("ObjectNode", "sklearn.linear_model._ridge.Ridge", content=attributes))


def schema_of_a_list(_canary: Path) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as made:
        made.writestr("schema.json", "[]")
    return written.getvalue()


def zip_bomb(_canary: Path) -> bytes:
    return archive(array(), packed=True, a=header("<f8", 50_000_000) + bytes(400_000_000))


def shape_bomb(_canary: Path) -> bytes:
    return archive(array(), a=header("<f8", 1 << 20, 1 << 10))


def shape_bomb_of_nothing(_canary: Path) -> bytes:
    """Its items have no bytes, so the header is right, and NumPy gives each of them one."""
    return archive(array("bool"), a=header("|S0", 200_000_000))


def bomb_of_references(_canary: Path) -> bytes:
    """Ten times ten times ... the same list, written once: 8 times ten million bytes as an array."""
    nested = several(*[text(0)] * 10, kind="list")
    for number in range(1, 7):
        nested = several({**nested, "__id__": number}, *[{"__id__": number}] * 9, kind="list")
    shape = several(text(10), text(10))
    return archive(node("NdArrayNode", "numpy.ndarray", type="json", content=nested["content"], shape=shape))


# ------------------------------------------------------------------ graphs


def _pointing(location: str) -> bytes:
    made = ModelProto.FromString(regression())
    made.graph.initializer[0].ClearField("raw_data")
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    made.graph.initializer[0].external_data.add(key="location", value=location)
    return made.SerializeToString()


def points_at_a_file(canary: Path) -> bytes:
    (canary.parent / "weights").write_bytes(bytes(16))
    return _pointing(str(canary.parent / "weights"))


def points_out_of_its_folder(_canary: Path) -> bytes:
    return _pointing("../../../../../../dev/zero")


def of_two_formats(canary: Path) -> bytes:
    """To a scan of Protocol Buffers one long field, to onnxruntime a whole model in its own format."""
    saved = canary.parent / "graph.ort"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(saved)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(regression(), options)
    model = saved.read_bytes()
    # Read as fields: a number (10 80 00), eight bytes (01, then "ORTM" and four more), then one field up to the end.
    root = 0x01008010
    padding = root - struct.unpack("<I", model[:4])[0]
    field = _skipped(padding - 4 + len(model) - 8)
    return struct.pack("<I", root) + b"ORTM" + bytes(4) + field + bytes(padding - 4 - len(field)) + model[8:]


def _skipped(size_bytes: int) -> bytes:
    """The begin of a field that, with what follows, has this many bytes."""
    left = size_bytes - 5
    return bytes([0x0A, *(left >> shift & 0x7F | (0x80 if shift < 21 else 0) for shift in (0, 7, 14, 21))])


RUNNING: dict[str, Callable[[Path], bytes]] = {
    "calls-an-operator": calls_an_operator,
    "calls-a-method": calls_a_method,
    "constructs": constructs,
    "reduces": reduces,
    "turns-a-key": turns_a_key,
    "whitelists-itself": whitelists_itself,
}
"""skops files that make the canary where a reader trusts the types that the file asks for."""

PICKLES: dict[str, Callable[[Path], bytes]] = {
    "pickle": pickled,
    "joblib": by_joblib,
    "cloudpickle": by_cloudpickle,
}
"""What makes the canary wherever it is unpickled."""

SKOPS: dict[str, Callable[[Path], bytes]] = {
    **PICKLES,
    **RUNNING,
    "operator-in-disguise": operator_in_disguise,
    "method-in-disguise": method_in_disguise,
    "trusted-elsewhere": trusted_elsewhere,
    "no-bit-generator": no_bit_generator,
    "pickle-in-an-array": pickle_in_an_array,
    "predicts-nothing": predicts_nothing,
    "half-a-model": is_half_a_model,
    "schema-of-a-list": schema_of_a_list,
    "zip-bomb": zip_bomb,
    "shape-bomb": shape_bomb,
    "shape-bomb-of-nothing": shape_bomb_of_nothing,
    "bomb-of-references": bomb_of_references,
    "graph": lambda _canary: regression(),
}
ONNX: dict[str, Callable[[Path], bytes]] = {
    **PICKLES,
    "points-at-a-file": points_at_a_file,
    "points-out-of-its-folder": points_out_of_its_folder,
    "two-formats": of_two_formats,
    "archive": constructs,
}
