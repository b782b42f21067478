"""Generates ``wire/estimators.json`` from the scikit-learn that is installed.

In: every classifier and regressor of ``sklearn.utils.all_estimators`` with its own
``_parameter_constraints``. Out: the catalogue that ``wire.catalogue`` checks requests against,
so that a replica without scikit-learn knows what is allowed. ``python -m trainer.catalogue``
writes the file; a test fails when it is stale.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import msgspec
from sklearn import __version__ as sklearn_version
from sklearn.utils import all_estimators
from sklearn.utils._param_validation import Interval, StrOptions

import wire
from trainer import catalogue_rules as rules
from wire.catalogue import Catalogue, Estimator, Kind, Probabilities
from wire.parameters import Allowed, Parameter

FILE = Path(wire.__file__).with_name("estimators.json")
"""Where the catalogue lies: beside the module that reads it."""

_NULL = Allowed("null")

_KINDS: tuple[Kind, ...] = ("classifier", "regressor")


def generate() -> Catalogue:
    """The catalogue of the installed scikit-learn."""
    estimators: dict[str, Estimator] = {}
    excluded: dict[str, str] = {}
    for kind in _KINDS:
        for name, cls in all_estimators(type_filter=kind):
            if name in rules.EXCLUDED:
                excluded[name] = rules.EXCLUDED[name]
            else:
                estimators[name] = _estimator(kind, name, cls)
    return Catalogue(sklearn_version, dict(sorted(estimators.items())), dict(sorted(excluded.items())))


def encode(catalogue: Catalogue) -> bytes:
    """The file's bytes: JSON with one line per estimator's parameter, so that a diff shows what changed."""
    tree = msgspec.to_builtins(catalogue)
    lines = ["{", f' "sklearn": {_line(catalogue.sklearn)},', ' "estimators": {']
    lines += _joined([_estimator_lines(name, entry) for name, entry in tree["estimators"].items()])
    lines += [" },", ' "excluded": {']
    lines += _joined([[f"  {_line(name)}: {_line(reason)}"] for name, reason in tree["excluded"].items()])
    return "\n".join([*lines, " }", "}", ""]).encode()


def _line(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _joined(blocks: list[list[str]]) -> list[str]:
    """The lines of all blocks, a comma after every block but the last."""
    last = len(blocks) - 1
    return [
        line + ("," if index < last and line is block[-1] else "")
        for index, block in enumerate(blocks)
        for line in block
    ]


def _estimator_lines(name: str, entry: dict[str, Any]) -> list[str]:
    parameters = _joined([[f"    {_line(param)}: {_line(rule)}"] for param, rule in entry["params"].items()])
    return [
        f"  {_line(name)}: {{",
        f'   "kind": {_line(entry["kind"])},',
        f'   "probabilities": {_line(entry["probabilities"])},',
        f'   "fixed": {_line(entry["fixed"])},',
        '   "params": {',
        *parameters,
        "   }",
        "  }",
    ]


def _estimator(kind: Kind, name: str, cls: type) -> Estimator:
    params: dict[str, Parameter] = {}
    fixed: dict[str, str] = {}
    for argument in list(inspect.signature(cls).parameters.values()):
        reason = rules.FIXED.get(argument.name)
        constraints = getattr(cls, "_parameter_constraints", {}).get(argument.name, [])
        allowed = _allowed(name, argument.name, constraints)
        if reason:
            fixed[argument.name] = reason
        elif not set(allowed) - {_NULL}:
            fixed[argument.name] = "JSON can't carry its values"
        else:
            default = rules.DEFAULTS.get(name, {}).get(argument.name, argument.default)
            params[argument.name] = Parameter(_plain(default), allowed)
    return Estimator(kind, _probabilities(name, cls), params, fixed)


def _probabilities(name: str, cls: type) -> bool | Probabilities:
    if name in rules.PROBABILITIES:
        return Probabilities(*rules.PROBABILITIES[name])
    return hasattr(cls, "predict_proba")


def _allowed(estimator: str, name: str, constraints: Iterable[object]) -> tuple[Allowed, ...]:
    """The JSON forms of scikit-learn's constraints; None is named last, as people say it."""
    special = rules.FORMS.get(f"{estimator}.{name}") or rules.FORMS.get(name)
    found = list(special) if special is not None else [one for raw in constraints for one in _form(name, raw)]
    unique = list(dict.fromkeys(found))
    return tuple(sorted(unique, key=lambda one: one.kind == "null"))


def _form(name: str, constraint: object) -> tuple[Allowed, ...]:
    """The JSON forms of one constraint: none for functions, estimators, arrays and hidden values."""
    if isinstance(constraint, Interval):
        return (_interval(constraint),)
    if isinstance(constraint, StrOptions):
        options = sorted(set(constraint.options) - constraint.deprecated - rules.REFUSED_OPTIONS)
        return (Allowed("option", options=tuple(options)),) if options else ()
    if constraint is None:
        return (Allowed("null"),)
    if constraint is Integral:
        return (Allowed("integer"),)
    if constraint is Real:
        return (Allowed("number"),)
    if isinstance(constraint, str):
        return () if (constraint, name) in rules.REFUSED_LISTS else rules.WORDS.get(constraint, ())
    return ()


def _interval(interval: Interval) -> Allowed:
    kinds = {"Integral": "integer", "Real": "number", "RealNotInt": "fraction"}
    low, high = _bound(interval.left), _bound(interval.right)
    low_open = low is not None and interval.closed in ("right", "neither")
    high_open = high is not None and interval.closed in ("left", "neither")
    if interval.type is Integral and low is not None and low_open:
        low, low_open = low + 1, False
    kind = kinds[interval.type.__name__]
    return msgspec.convert(
        {"kind": kind, "low": low, "high": high, "low_open": low_open, "high_open": high_open}, Allowed
    )


def _bound(bound: float | None) -> float | None:
    return None if bound is None or math.isinf(bound) else float(bound)


def _plain(default: Any) -> Any:
    """A default as JSON: hidden markers become "unset", infinities and other objects a text."""
    if isinstance(default, str) and default in rules.HIDDEN_DEFAULTS:
        return "unset"
    if isinstance(default, tuple):
        return list(default)
    if isinstance(default, float):
        return float(default) if math.isfinite(default) else str(default)
    if default is None or isinstance(default, (bool, int, str)):
        return default
    return str(default)


if __name__ == "__main__":
    FILE.write_bytes(encode(generate()))
