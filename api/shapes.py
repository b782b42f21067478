"""What is wrong with the shape of a JSON body, in words that repeat nothing of it.

Between msgspec's refusal and the problem document: its message comes in, ``errors.BadInput``
with a path such as ``validation.folds`` goes out. msgspec names unknown keys and bad enum
values; those are the client's words, so what is allowed is said instead.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import inspect

from wire import errors

_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_PARTS = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")
_EXPECTED = re.compile(
    r"Expected `(?P<wanted>[^`]+)`(?: (?P<rule><=?|>=?) (?P<bound>-?[\d.]+))?(?:, got `(?P<got>\w+)`)?$"
)
_LENGTH = re.compile(r"Expected `(?P<kind>\w+)` of length (?P<rule><=|>=) (?P<bound>\d+)$")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]+)`$")
_UNKNOWN = "Object contains unknown field"
_MAX_NAMED = 12


def explain(error: msgspec.ValidationError, kind: Any) -> errors.BadInput:
    """The error of ours for a refusal of msgspec's when it decoded ``kind``."""
    text = str(error)
    found = _PATH.search(text)
    path = found["path"] if found else ""
    said = text[: found.start()] if found else text
    info = _at(inspect.type_info(kind), path)
    missing = _MISSING.match(said)
    if missing:
        path, problem = f"{path}.{missing['field']}", "is required"
    else:
        # The client may have called its field so that it ends like a path.
        if said.startswith(_UNKNOWN) and not isinstance(info, inspect.StructType):
            path, info = "", inspect.type_info(kind)
        problem = _problem(said, info)
    at = path.lstrip(".") or "body"
    return errors.BadInput("The body does not have the expected shape.", errors=[errors.FieldError(at, problem)])


def _problem(said: str, info: inspect.Type | None) -> str:
    if said.startswith(_UNKNOWN):
        names = sorted(field.encode_name for field in info.fields) if isinstance(info, inspect.StructType) else []
        return "has a field that is not known" + _allowed(names)
    if said.startswith("Invalid enum value"):
        return "is none of the allowed values" + _allowed(_literals(info))
    if "out of range" in said:
        return "is a number out of range"
    if "matching regex" in said:
        description = _description(info)
        return f"must be {description}" if description else "does not have the required form"
    length = _LENGTH.match(said)
    if length:
        bound = "at most" if length["rule"] == "<=" else "at least"
        return f"must have a length of {bound} {length['bound']}"
    expected = _EXPECTED.match(said)
    if expected is None:
        return "is not valid"
    if expected["rule"]:
        return f"must be {expected['rule']} {expected['bound']}"
    got = f", not {expected['got']}" if expected["got"] else ""
    return f"must be {expected['wanted']}{got}"


def _allowed(names: list[str]) -> str:
    return f"; allowed: {', '.join(names[:_MAX_NAMED])}" if names else ""


def _unwrapped(info: inspect.Type | None) -> inspect.Type | None:
    while isinstance(info, inspect.Metadata):
        info = info.type
    if isinstance(info, inspect.UnionType):
        inner = [option for option in info.types if not isinstance(option, inspect.NoneType)]
        return _unwrapped(inner[0]) if len(inner) == 1 else info
    return info


def _description(info: inspect.Type | None) -> str:
    schema = info.extra_json_schema if isinstance(info, inspect.Metadata) else None
    return str((schema or {}).get("description", ""))


def _literals(info: inspect.Type | None) -> list[str]:
    inner = _unwrapped(info)
    return [str(value) for value in inner.values] if isinstance(inner, inspect.LiteralType) else []


def _at(info: inspect.Type | None, path: str) -> inspect.Type | None:
    """The type that stands at a path of msgspec's, None where it can't be told."""
    end = 0
    for part in _PARTS.finditer(path):
        if part.start() != end:
            return None
        end = part.end()
        inner = _unwrapped(info)
        if part["field"] and isinstance(inner, inspect.StructType):
            info = next((field.type for field in inner.fields if field.encode_name == part["field"]), None)
        elif isinstance(inner, inspect.DictType):
            info = inner.value_type
        elif isinstance(inner, inspect.ListType | inspect.VarTupleType):
            info = inner.item_type
        else:
            return None
    if end != len(path):
        return None
    return info if isinstance(info, inspect.Metadata) else _unwrapped(info)
