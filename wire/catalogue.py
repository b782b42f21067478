"""The estimators one can train, and whether a training request's parameters fit them.

Stands at the door: a replica that has no scikit-learn checks ``estimator``, ``params``,
``search`` and ``validation`` of POST /train against the catalogue that the trainer generated
from it (``wire/estimators.json``, written by ``python -m trainer.catalogue``), and answers what
is wrong, and what would be right, at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from itertools import chain, islice
from typing import Any, Literal

import msgspec

from wire import errors, messages, parameters, scoring

AUTO = "auto"
"""The name that lets the trainer choose among a few sound estimators."""

MAX_CANDIDATES = 500
"""Most parameter sets one search tries."""

MAX_VALUES = 5000
"""Most values that ``params`` hold, and most that the ``space`` of a search holds, those within lists counted."""

MAX_BYTES = 256 * 1024
"""Most bytes of JSON that either of them takes: a job's request travels in one message, and so does its letter."""

MAX_FOLDS = 20
"""Most folds of a cross-validation."""

MAX_HOLDOUT = 0.5
"""Largest share of the rows kept out: beyond a half, less is learnt than is judged."""

Kind = Literal["classifier", "regressor"]
"""What an estimator predicts: one of several classes, or a number."""

_TASKS: dict[Kind, scoring.Task] = {"classifier": "classification", "regressor": "regression"}


class Probabilities(msgspec.Struct, frozen=True):
    """Probabilities that exist only where ``param`` has one of ``values``."""

    param: str
    values: tuple[Any, ...]


class Estimator(msgspec.Struct, frozen=True):
    """One estimator of the catalogue.

    ``params`` are those a request may set; ``fixed`` are those it may not, with the reason.
    """

    kind: Kind
    probabilities: bool | Probabilities
    params: dict[str, parameters.Parameter]
    fixed: dict[str, str]


class Catalogue(msgspec.Struct, frozen=True):
    """The content of estimators.json: what can be trained, what can't and why."""

    sklearn: str
    estimators: dict[str, Estimator]
    excluded: dict[str, str]


@lru_cache(maxsize=1)
def load() -> Catalogue:
    """The catalogue, read once from the package's own file."""
    content = resources.files("wire").joinpath("estimators.json").read_bytes()
    return msgspec.json.decode(content, type=Catalogue)


def names(kind: Kind | None = None) -> tuple[str, ...]:
    """The estimators of a kind, or all of them, sorted; ``auto`` is not among them."""
    return tuple(name for name, estimator in load().estimators.items() if kind in (None, estimator.kind))


def task(estimator: str) -> scoring.Task | None:
    """The task of an estimator; None for ``auto`` and for unknown names."""
    entry = load().estimators.get(estimator)
    return _TASKS[entry.kind] if entry else None


def has_probabilities(estimator: str, params: dict[str, Any]) -> bool:
    """Whether this estimator, fitted with these parameters, gives class probabilities.

    Raises KeyError for a name that is not in the catalogue.
    """
    entry = load().estimators[estimator]
    rule = entry.probabilities
    if isinstance(rule, bool):
        return rule
    return params.get(rule.param, entry.params[rule.param].default) in rule.values


def check(
    estimator: str, params: dict[str, Any], search: messages.Search | None = None
) -> tuple[errors.FieldError, ...]:
    """What is wrong with an estimator's name, its parameters and a search over them; empty: nothing."""
    if estimator == AUTO:
        return _check_auto(params, search)
    entry = load().estimators.get(estimator)
    if entry is None:
        return (errors.FieldError("estimator", _unknown_estimator(estimator)),)
    too_much = _check_amount(params, search)
    if too_much:
        return too_much
    found = chain(_check_params(entry, params), () if search is None else _check_search(entry, params, search))
    return tuple(islice(found, errors.MAX_FIELD_ERRORS))


def check_validation(
    estimator: str,
    params: dict[str, Any],
    validation: messages.Validation,
    search: messages.Search | None = None,
) -> tuple[errors.FieldError, ...]:
    """What is wrong with the way a version shall be judged; empty: nothing."""
    found = []
    if not 0 <= validation.holdout <= MAX_HOLDOUT:
        found.append(errors.FieldError("validation.holdout", f"must be a number from 0 to {MAX_HOLDOUT:g}"))
    if validation.folds != 0 and not 2 <= validation.folds <= MAX_FOLDS:
        found.append(errors.FieldError("validation.folds", f"must be 0 or a whole number from 2 to {MAX_FOLDS}"))
    found += scoring.check(validation.scoring, task(estimator))
    if not found and _lacks_probabilities(estimator, params, validation.scoring, search):
        found.append(
            errors.FieldError("validation.scoring", "needs class probabilities, which this estimator does not give")
        )
    return tuple(found)


def _lacks_probabilities(
    estimator: str, params: dict[str, Any], name: str | None, search: messages.Search | None
) -> bool:
    entry = load().estimators.get(estimator)
    if entry is None or name is None or not scoring.SCORES[name].probabilities:
        return False
    rule = entry.probabilities
    if search is not None and not isinstance(rule, bool) and rule.param in search.space:
        return not all(value in rule.values for value in islice(search.space[rule.param], MAX_VALUES))
    return not has_probabilities(estimator, params)


def _check_auto(params: dict[str, Any], search: messages.Search | None) -> tuple[errors.FieldError, ...]:
    advice = "auto chooses these itself; name an estimator to set them"
    given = [("params", bool(params)), ("search", search is not None)]
    return tuple(errors.FieldError(at, advice) for at, present in given if present)


def _check_amount(params: dict[str, Any], search: messages.Search | None) -> tuple[errors.FieldError, ...]:
    """What is more than is looked at value by value, which takes its time."""
    found = []
    for at, given in (("params", params), ("search.space", {} if search is None else search.space)):
        if parameters.hold_more(given, MAX_VALUES):
            found.append(errors.FieldError(at, f"holds more than {MAX_VALUES} values"))
        elif len(msgspec.json.encode(given)) > MAX_BYTES:
            found.append(errors.FieldError(at, f"takes more than {MAX_BYTES} bytes of JSON"))
    return tuple(found)


def _unknown_estimator(name: str) -> str:
    catalogue = load()
    if name in catalogue.excluded:
        return f"this estimator can't be trained here: {catalogue.excluded[name]}"
    near = _closest(name, tuple(catalogue.estimators))
    advice = f"did you mean {' or '.join(near)}?" if near else 'such as LogisticRegression, Ridge, or "auto"'
    return f"is not a classifier or regressor of scikit-learn {catalogue.sklearn}; {advice}"


def _closest(name: str, known: tuple[str, ...]) -> list[str]:
    by_lower = {one.lower(): one for one in known}
    near = get_close_matches(name.lower()[:100], list(by_lower), n=3, cutoff=0.6)
    return [by_lower[one] for one in near]


def _place(entry: Estimator, within: str, name: str, index: int) -> str:
    """Where a parameter stands: by its name if it is one of the estimator's, else by its number."""
    known = name in entry.params or name in entry.fixed
    return f"{within}.{name}" if known else f"{within}[{index}]"


def _check_params(entry: Estimator, params: dict[str, Any]) -> Iterator[errors.FieldError]:
    for index, (name, value) in enumerate(params.items()):
        yield from _check_name(entry, name, _place(entry, "params", name, index))
        yield from _check_value(entry, name, value, f"params.{name}")


def _check_name(entry: Estimator, name: str, at: str) -> list[errors.FieldError]:
    return [] if name in entry.params else [errors.FieldError(at, _unknown_parameter(entry, name))]


def _check_value(entry: Estimator, name: str, value: object, at: str) -> list[errors.FieldError]:
    """What is wrong with a value; nothing for a name that is unknown, of which that was said."""
    parameter = entry.params.get(name)
    if parameter is None or parameters.accepts(parameter, value):
        return []
    return [errors.FieldError(at, f"must be {parameters.describe(parameter)}")]


def _unknown_parameter(entry: Estimator, name: str) -> str:
    if name in entry.fixed:
        return f"can't be set: {entry.fixed[name]}"
    near = _closest(name, tuple(entry.params))
    if near:
        return f"is not a parameter of this estimator; did you mean {' or '.join(near)}?"
    return f"is not a parameter of this estimator; it has {', '.join(entry.params) or 'none that can be set'}"


def _check_search(entry: Estimator, params: dict[str, Any], search: messages.Search) -> Iterator[errors.FieldError]:
    yield from _check_extent(search)
    for index, (name, values) in enumerate(search.space.items()):
        at = _place(entry, "search.space", name, index)
        yield from _check_name(entry, name, at)
        if not values:
            yield errors.FieldError(at, "must have at least one value to try")
        if name in params:
            yield errors.FieldError(at, "is also given in params; give it in one of them")
        for number, value in enumerate(values):
            yield from _check_value(entry, name, value, f"{at}[{number}]")


def _check_extent(search: messages.Search) -> Iterator[errors.FieldError]:
    if not search.space:
        yield errors.FieldError("search.space", "must name at least one parameter and the values to try")
    product = math.prod(len(values) for values in search.space.values())
    if search.kind != "random" and product > MAX_CANDIDATES:
        advice = f"makes {product} candidates, more than {MAX_CANDIDATES}; try fewer values, or kind random"
        yield errors.FieldError("search.space", advice)
    if not 1 <= search.candidates <= MAX_CANDIDATES:
        yield errors.FieldError("search.candidates", f"must be a whole number from 1 to {MAX_CANDIDATES}")
    if not 2 <= search.folds <= MAX_FOLDS:
        yield errors.FieldError("search.folds", f"must be a whole number from 2 to {MAX_FOLDS}")
