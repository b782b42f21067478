"""From a name of the catalogue and JSON parameters to a scikit-learn estimator, ready to fit.

The last step before the pipeline: fills in what makes a training repeatable, and translates
parameters that speak of classes from the target's own values to the indices that are fitted.
"""

from __future__ import annotations

import inspect
import warnings
from functools import lru_cache
from typing import Any

from sklearn.utils import all_estimators

from trainer import catalogue_rules
from wire import catalogue, errors

_MOST_FREQUENT = "most_frequent"


@lru_cache(maxsize=1)
def _classes_by_name() -> dict[str, Any]:
    return dict(all_estimators(type_filter=["classifier", "regressor"]))


def signature(estimator: Any) -> tuple[str, ...]:
    """The names of the parameters of an estimator's class."""
    return tuple(inspect.signature(estimator).parameters)


def make(name: str, params: dict[str, Any], classes: tuple[Any, ...] | None) -> Any:
    """The unfitted estimator: seed 0 unless the request has one, one process, our defaults.

    ``classes``: JSON scalars by index, None for a regression. Raises errors.TrainingFailed when
    a parameter names a class that the target doesn't have, KeyError for an unknown estimator.
    """
    entry = catalogue.load().estimators[name]
    known = {**entry.params, **entry.fixed}
    chosen: dict[str, Any] = {**catalogue_rules.DEFAULTS.get(name, {}), **params}
    if "random_state" in known and chosen.get("random_state") is None:
        chosen["random_state"] = 0
    if "n_jobs" in known:
        chosen["n_jobs"] = 1
    with warnings.catch_warnings():
        # Some say at once that a later scikit-learn drops them; the catalogue will then say so too.
        warnings.simplefilter("ignore", FutureWarning)
        return _classes_by_name()[name](**_translated(chosen, classes))


def _translated(params: dict[str, Any], classes: tuple[Any, ...] | None) -> dict[str, Any]:
    if classes is None:
        return params
    translated = dict(params)
    weights = params.get("class_weight")
    if isinstance(weights, dict):
        by_text = {_text(one): index for index, one in enumerate(classes)}
        translated["class_weight"] = {
            _index(by_text, label, "class_weight", classes): weight for label, weight in weights.items()
        }
    for name in ("constant", "outlier_label"):
        if params.get(name) not in (None, _MOST_FREQUENT):
            by_text = {_text(one): index for index, one in enumerate(classes)}
            translated[name] = _index(by_text, _text(params[name]), name, classes)
    return translated


def _text(label: Any) -> str:
    """A class as the text that stands for it where JSON allows only texts, as an object's keys."""
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def _index(by_text: dict[str, int], label: str, param: str, classes: tuple[Any, ...]) -> int:
    index = by_text.get(label)
    if index is None:
        some = ", ".join(_text(one) for one in classes[:10])
        raise errors.TrainingFailed(f"params.{param} names a class that the target does not have; it has {some}")
    return index
