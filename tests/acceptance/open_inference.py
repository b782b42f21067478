"""The Open Inference Protocol's REST calls as an OpenAPI document, for what is checked against it.

Written down from the protocol's own specification (open-inference/open-inference-protocol,
``specification/protocol/open_inference_rest.yaml`` and ``inference_rest.md``, Apache 2.0), with two
things that the prose says and its OpenAPI file lacks: paths without a version, and errors as
``{"error": text}`` for more statuses than 400.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer"}
_REFUSED = ("400", "401", "403", "404", "413", "415", "429", "503", "504")
_MODEL = "/v2/models/{MODEL_NAME}"
_VERSION = f"{_MODEL}/versions/{{MODEL_VERSION}}"


def _object(required: tuple[str, ...], **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_DATA: Schema = {"type": "array", "items": {"anyOf": [_ref("data"), {"type": "number"}, _TEXT, {"type": "boolean"}]}}
_PARAMETERS: Schema = {"type": "object"}
_TENSOR = ("name", "shape", "datatype", "data")
SCHEMAS: Schema = {
    "data": _DATA,
    "error": _object(("error",), error=_TEXT),
    "live": _object(("live",), live={"type": "boolean"}),
    "ready": _object(("ready",), ready={"type": "boolean"}),
    "model_ready": _object(("name", "ready"), name=_TEXT, ready={"type": "boolean"}),
    "server": _object(("name", "version", "extensions"), name=_TEXT, version=_TEXT, extensions=_list(_TEXT)),
    "metadata_tensor": _object(("name", "datatype", "shape"), name=_TEXT, datatype=_TEXT, shape=_list(_WHOLE)),
    "model": _object(
        ("name", "platform", "inputs", "outputs"),
        name=_TEXT,
        versions=_list(_TEXT),
        platform=_TEXT,
        inputs=_list(_ref("metadata_tensor")),
        outputs=_list(_ref("metadata_tensor")),
    ),
    "tensor": _object(
        _TENSOR, name=_TEXT, shape=_list(_WHOLE), datatype=_TEXT, parameters=_PARAMETERS, data=_ref("data")
    ),
    "requested_output": _object(("name",), name=_TEXT, parameters=_PARAMETERS),
    "request": _object(
        ("inputs",),
        id=_TEXT,
        parameters=_PARAMETERS,
        inputs=_list(_ref("tensor")),
        outputs=_list(_ref("requested_output")),
    ),
    "response": _object(
        ("model_name", "outputs"),
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_PARAMETERS,
        outputs=_list(_ref("tensor")),
    ),
}
"""The protocol's objects."""


def _call(answer: str, *names: str, refused: tuple[str, ...] = _REFUSED, body: str = "") -> Schema:
    answers = {"200": answer, **dict.fromkeys(refused, "error")}
    parameters = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]
    call: Schema = {
        "parameters": parameters,
        "responses": {
            status: {"description": status, "content": {"application/json": {"schema": _ref(name)}}}
            for status, name in answers.items()
        },
    }
    if body:
        call["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    return call


DOCUMENT: Schema = {
    "openapi": "3.0.0",
    "info": {"title": "Open Inference Protocol", "version": "2.0"},
    "paths": {
        "/v2": {"get": _call("server")},
        "/v2/health/live": {"get": _call("live", refused=())},
        "/v2/health/ready": {"get": _call("ready", refused=())},
        _MODEL: {"get": _call("model", "MODEL_NAME")},
        _VERSION: {"get": _call("model", "MODEL_NAME", "MODEL_VERSION")},
        f"{_MODEL}/ready": {"get": _call("model_ready", "MODEL_NAME")},
        f"{_VERSION}/ready": {"get": _call("model_ready", "MODEL_NAME", "MODEL_VERSION")},
        f"{_MODEL}/infer": {"post": _call("response", "MODEL_NAME", body="request")},
        f"{_VERSION}/infer": {"post": _call("response", "MODEL_NAME", "MODEL_VERSION", body="request")},
    },
    "components": {"schemas": SCHEMAS},
}
"""The protocol's calls that every server has."""
