"""From a library's exceptions and warnings to sentences: what could not be trained, and what to change.

Stands around every call into scikit-learn that fits or predicts, whose exceptions depend on the
data: they end the job with a sentence instead of a retry.
"""

from __future__ import annotations

import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from wire import errors

MAX_SENTENCE = 400
"""Characters of a library's own sentence that are passed on."""

MAX_WARNINGS = 20
"""Different warnings one report keeps."""

HINTS: dict[str, str] = {
    "ComplementNB": "Complement naive Bayes takes counts and shares; GaussianNB takes any numbers",
    "GammaRegressor": "it needs a target above 0 in every row",
    "GaussianProcessClassifier": "it suits up to a few thousand rows",
    "GaussianProcessRegressor": "it suits up to a few thousand rows",
    "IsotonicRegression": "it takes exactly one number column",
    "LassoLarsIC": "it needs more rows than columns, or params.noise_variance",
    "LinearDiscriminantAnalysis": "params.solver lsqr with params.shrinkage auto copes with dependent columns",
    "NuSVC": "a smaller params.nu copes with rare classes; SVC has no such bound",
    "PLSRegression": "params.n_components must not exceed the number of columns",
    "PoissonRegressor": "it needs a target of 0 or more in every row",
    "QuadraticDiscriminantAnalysis": "params.reg_param above 0 copes with dependent columns and small classes",
    "RANSACRegressor": "a larger params.residual_threshold or a smaller params.min_samples accepts more rows",
    "RadiusNeighborsRegressor": "a larger params.radius finds neighbours; KNeighborsRegressor always has some",
    "TweedieRegressor": "its params.power limits the target: above 0 for 2 and more, 0 or more from 1 to 2",
}
"""What to try next where an estimator refuses a table."""

_LAST_ERROR = re.compile(r"^\w*(?:Error|Exception): (.+)$", re.MULTILINE)


def failed(estimator: str, error: BaseException) -> errors.TrainingFailed:
    """The error that ends the job, from what the library raised."""
    if isinstance(error, MemoryError):
        sentence = f"{estimator} needs more memory on this table than a training may use"
        return errors.TrainingFailed(sentence, hint="train on fewer rows or columns, or name a lighter estimator")
    text = str(error).strip()
    inner = _LAST_ERROR.findall(text)
    first = inner[-1] if inner else (text.splitlines() or [type(error).__name__])[0]
    return errors.TrainingFailed(
        f"{estimator} can't be trained on this table: {first[:MAX_SENTENCE]}", hint=HINTS.get(estimator, "")
    )


@contextmanager
def refusing(estimator: str) -> Iterator[None]:
    """Turn what the block raises into TrainingFailed; the traceback goes to standard error."""
    try:
        yield
    except (errors.WarrenError, OSError):
        raise
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        raise failed(estimator, error) from error


class Warned:
    """The different warnings of a training, as sentences, at most MAX_WARNINGS."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Collect what the block warns about; a library's advice to its callers is left out."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for one in caught:
            if not issubclass(one.category, (FutureWarning, DeprecationWarning, PendingDeprecationWarning)):
                self._add(f"{one.category.__name__}: {' '.join(str(one.message).split())[:MAX_SENTENCE]}")

    def sentences(self) -> list[str]:
        """The warnings in the order they came, with their counts."""
        return [text if count == 1 else f"{text} ({count} times)" for text, count in self._counts.items()]

    def _add(self, sentence: str) -> None:
        if sentence in self._counts or len(self._counts) < MAX_WARNINGS:
            self._counts[sentence] = self._counts.get(sentence, 0) + 1
