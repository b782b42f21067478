"""What one parameter of an estimator may be: the vocabulary of ``wire/estimators.json``.

Stands between the catalogue that the trainer generates from scikit-learn and the check an API
replica makes of a training request: a JSON value and its rules come in, a yes or a phrase that
says what is allowed comes out. Knows nothing of scikit-learn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import msgspec

MAX_INTEGER = 2**32 - 1
"""Largest whole number any parameter takes: seeds go to 2^32 - 1, everything else is smaller."""

MAX_LIST = 1000
"""Longest list a parameter takes."""

MAX_TEXT = 1000
"""Longest text a parameter takes, in characters."""

LISTED_OPTIONS = 24
"""Options named in one sentence; a longer list is cut, so that an error stays readable."""

Kind = Literal[
    "null", "boolean", "integer", "number", "fraction", "option", "text", "label", "list", "object", "class_weights"
]
"""The forms of a value.

``fraction`` is a number that was written with a point (scikit-learn tells 1 from 1.0 where the
one counts rows and the other is a share of them); ``label`` a value of the target;
``class_weights`` an object from class labels to numbers.
"""


class Allowed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One form a parameter may take.

    ``low`` and ``high`` bound numbers (None: unbounded), ``low_open`` and ``high_open`` exclude
    the bound itself, ``options`` are the texts of an option, ``of`` is the form of a list's items.
    """

    kind: Kind
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    options: tuple[str, ...] = ()
    of: Allowed | None = None


class Parameter(msgspec.Struct, frozen=True):
    """A parameter: its default (as JSON; a text for what JSON lacks) and the forms it may take."""

    default: Any
    allowed: tuple[Allowed, ...]


def accepts(parameter: Parameter, value: object) -> bool:
    """Whether a JSON value has one of the allowed forms."""
    return any(_fits(allowed, value) for allowed in parameter.allowed)


def hold_more(values: Collection[Any], most: int) -> bool:
    """Whether there are more than ``most`` values, those within lists and objects counted; looks at no more."""
    count, left = len(values), [values]
    while left and count <= most:
        given = left.pop()
        inner = given.values() if isinstance(given, dict) else given
        deeper = [one for one in inner if isinstance(one, (dict, list))]
        count += sum(map(len, deeper))
        left += deeper
    return count > most


def describe(parameter: Parameter) -> str:
    """What is allowed, as a phrase: ``a whole number from 1, or null``."""
    return _either([_phrase(allowed) for allowed in parameter.allowed])


def _is_number(value: object) -> bool:
    # A whole number may be larger than any float, which math.isfinite does not bear.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER


def _in_range(allowed: Allowed, value: Any) -> bool:
    if allowed.low is not None and (value < allowed.low or (allowed.low_open and value == allowed.low)):
        return False
    return allowed.high is None or not (value > allowed.high or (allowed.high_open and value == allowed.high))


def _is_list(allowed: Allowed, value: object) -> bool:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_LIST:
        return False
    item = allowed.of
    return item is None or all(_fits(item, one) for one in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_weights(_: Allowed, value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(_is_number(one) and one >= 0 for one in value.values())


_FORMS: dict[Kind, Callable[[Allowed, Any], bool]] = {
    "null": lambda _, value: value is None,
    "boolean": lambda _, value: isinstance(value, bool),
    "integer": lambda allowed, value: _is_integer(value) and _in_range(allowed, value),
    "number": lambda allowed, value: _is_number(value) and _in_range(allowed, value),
    "fraction": lambda allowed, value: isinstance(value, float) and _is_number(value) and _in_range(allowed, value),
    "option": lambda allowed, value: isinstance(value, str) and value in allowed.options,
    "text": lambda _, value: _is_text(value),
    "label": lambda _, value: isinstance(value, bool) or _is_text(value) or _is_number(value),
    "list": _is_list,
    "object": lambda _, value: isinstance(value, dict),
    "class_weights": _is_weights,
}


def _fits(allowed: Allowed, value: object) -> bool:
    return _FORMS[allowed.kind](allowed, value)


def _bounds(allowed: Allowed) -> str:
    parts = []
    if allowed.low is not None and allowed.low == allowed.high:
        return f" that is {allowed.low:g}"
    if allowed.low is not None:
        parts.append(f"{'above' if allowed.low_open else 'from'} {allowed.low:g}")
    if allowed.high is not None:
        word = "below" if allowed.high_open else "to" if parts and not allowed.low_open else "up to"
        parts.append(f"{word} {allowed.high:g}")
    return " ".join(["", *parts])


def _options(options: Sequence[str]) -> str:
    shown = [f'"{option}"' for option in options[:LISTED_OPTIONS]]
    left = len(options) - len(shown)
    if left:
        return f"one of {', '.join(shown)} and {left} others"
    return shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"


_PHRASES: dict[Kind, Callable[[Allowed], str]] = {
    "null": lambda _: "null",
    "boolean": lambda _: "true or false",
    "integer": lambda allowed: f"a whole number{_bounds(allowed)}",
    "number": lambda allowed: f"a number{_bounds(allowed)}",
    "fraction": lambda allowed: f"a number written with a decimal point{_bounds(allowed)}",
    "option": lambda allowed: _options(allowed.options),
    "text": lambda _: "a text",
    "label": lambda _: "a value of the target",
    "list": lambda allowed: f"a list of {_plural(allowed.of)}" if allowed.of else "a list",
    "object": lambda _: "an object",
    "class_weights": lambda _: "an object that gives a number from 0 for each class",
}


def _plural(item: Allowed) -> str:
    words = {"integer": "whole numbers", "number": "numbers", "list": "lists of whole numbers"}
    return words.get(item.kind, "values") + _bounds(item)


def _phrase(allowed: Allowed) -> str:
    return _PHRASES[allowed.kind](allowed)


def _either(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])}, or {phrases[-1]}"
