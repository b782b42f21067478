"""The one place that turns decoded rows into what a scikit-learn pipeline takes.

Trainer and predictor both call it, so a pipeline is served exactly what it was fitted on: a
float64 array when all columns are number-like, otherwise a DataFrame with the number columns
first and then the text columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_store.runtime import outputs


def build(numbers: outputs.Numbers, texts: outputs.Texts, names: Sequence[str]) -> Any:
    """The pipeline's input. ``names`` are those of the number columns, then of the text columns.

    Text columns keep the type object (str), whatever pandas would infer.
    """
    if texts.shape[1] == 0:
        return numbers
    import pandas  # only mixed tables in a scikit-learn runtime need it, and it costs 60 MB

    count = numbers.shape[1]
    columns: dict[str, Any] = {name: numbers[:, place] for place, name in enumerate(names[:count])}
    columns.update((name, pandas.Series(texts[:, place], dtype=object)) for place, name in enumerate(names[count:]))
    return pandas.DataFrame(columns)
