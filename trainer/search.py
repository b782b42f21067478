"""Hyperparameter searches and the comparison behind ``auto``: candidates in, the best of them out.

Scikit-learn's own searches do the work over whole pipelines (so encoders never see a fold's
rows); a counting score moves the progress with every candidate and fold.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, ParameterGrid, ParameterSampler
from sklearn.pipeline import Pipeline

from trainer import folds, metrics, pipeline, preparation
from trainer.preparation import Prepared
from trainer.progress import Progress
from trainer.refusals import Warned, refusing
from wire import errors, messages
from wire import scoring as scores

REPORTED = 50
"""Candidates a report lists, best first."""

HALVING_FACTOR = 3
"""Each round of a halving search keeps one candidate of three: scikit-learn's own default."""

CHOICE_ROWS = 20_000
"""Rows ``auto`` compares its candidates on at most; the winner is fitted on all."""

CHOICE_FOLDS = 3
"""Folds ``auto`` compares its candidates by."""

CHOICE_S = 120.0
"""Seconds after which ``auto`` tries no further candidate."""


@dataclass(frozen=True)
class Candidate:
    """An estimator's name and its JSON parameters."""

    estimator: str
    params: dict[str, Any]


@dataclass(frozen=True)
class Chosen:
    """The best candidate and what the manifest's report says about the others."""

    best: Candidate
    report: dict[str, Any]


def run(
    request: messages.TrainRequest, asked: messages.Search, prepared: Prepared, progress: Progress, warned: Warned
) -> Chosen:
    """The search of a request. Raises errors.TrainingFailed when no candidate can be fitted."""
    candidates = _candidates(request, asked)
    rounds = _rounds(asked, len(candidates))
    cut = _cut(prepared, prepared.training, asked.folds, request.validation)
    counted = _Counted(prepared, sum(rounds) * cut.get_n_splits(), progress)
    places = prepared.training
    with refusing(request.estimator), warned.collecting():
        results = _searched(asked.kind, _pipelines(candidates, prepared), cut, counted, prepared, places)
    report = {"kind": asked.kind, "folds": cut.get_n_splits(), "scoring": prepared.scoring}
    return _best(candidates, results, report, prepared)


def choose(
    candidates: list[Candidate],
    request: messages.TrainRequest,
    prepared: Prepared,
    progress: Progress,
    warned: Warned,
    clock: Callable[[], float] = time.monotonic,
) -> Chosen:
    """Compare a few candidates in turn; none is begun after CHOICE_S seconds of ``clock``.

    Raises errors.TrainingFailed when none can be fitted.
    """
    places = _sample(prepared.training)
    cut = _cut(prepared, places, CHOICE_FOLDS, request.validation)
    counted = _Counted(prepared, len(candidates) * cut.get_n_splits(), progress)
    began = clock()
    results: list[tuple[float, float]] = []
    failure: errors.TrainingFailed | None = None
    for candidate in candidates:
        if results and clock() - began > CHOICE_S:
            break
        try:
            with refusing(candidate.estimator), warned.collecting():
                results += _searched("grid", _pipelines([candidate], prepared), cut, counted, prepared, places)
        except errors.TrainingFailed as error:
            failure = error
            results.append((math.nan, math.nan))
    if failure is not None and all(math.isnan(mean) for mean, _ in results):
        raise failure
    report = {"folds": cut.get_n_splits(), "rows": len(places), "scoring": prepared.scoring}
    return _best(candidates[: len(results)], results, {**report, "not_tried": len(candidates) - len(results)}, prepared)


class _Counted:
    """A score for scikit-learn's searches (more is better) that reports each call as a step."""

    def __init__(self, prepared: Prepared, total: int, progress: Progress) -> None:
        self._scoring = prepared.scoring
        self._classes = len(prepared.classes or ())
        self._total, self._done, self._progress = total, 0, progress

    def __call__(self, fitted: Any, inputs: Any, truth: NDArray[Any]) -> float:
        value = metrics.figure(self._scoring, truth, folds.predict(fitted, inputs, self._classes))
        self._done += 1
        self._progress.step(self._done, self._total, f"fit {self._done} of {self._total}")
        if value is None:
            return math.nan
        return value if scores.SCORES[self._scoring].more_is_better else -value


def _candidates(request: messages.TrainRequest, asked: messages.Search) -> list[Candidate]:
    if asked.kind == "random":
        possible = math.prod(len(values) for values in asked.space.values())
        drawn = list(ParameterSampler(asked.space, min(asked.candidates, possible), random_state=0))
    else:
        drawn = list(ParameterGrid(asked.space))
    return [Candidate(request.estimator, {**request.params, **one}) for one in drawn]


def _rounds(asked: messages.Search, candidates: int) -> list[int]:
    """Candidates per round: an estimate for halving, whose rounds depend on the rows too."""
    rounds = [candidates]
    while asked.kind == "halving" and rounds[-1] > 1:
        rounds.append(math.ceil(rounds[-1] / HALVING_FACTOR))
    return rounds


def _cut(prepared: Prepared, places: NDArray[np.int64], count: int, validation: messages.Validation) -> Any:
    in_time = validation.order_by is not None
    return folds.splitter(prepared.task, prepared.values[places], count, in_time=in_time)


def _sample(training: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(training) <= CHOICE_ROWS:
        return training
    drawn = np.random.default_rng(0).permutation(len(training))[:CHOICE_ROWS]
    return training[np.sort(drawn)]


def _pipelines(candidates: list[Candidate], prepared: Prepared) -> list[Any]:
    return [pipeline.build(one.estimator, one.params, prepared.schema, prepared.facts) for one in candidates]


def _searched(
    kind: str, pipelines: list[Any], cut: Any, counted: _Counted, prepared: Prepared, places: NDArray[np.int64]
) -> list[tuple[float, float]]:
    """Mean and spread of the score per candidate, NaN where it could not be fitted."""
    outer = Pipeline([("candidate", pipelines[0])])
    grid = {"candidate": pipelines}
    shared = {"scoring": counted, "cv": cut, "refit": False, "n_jobs": 1}
    if kind == "halving":
        tried = HalvingGridSearchCV(outer, grid, factor=HALVING_FACTOR, random_state=0, **shared)
    else:
        tried = GridSearchCV(outer, grid, **shared)
    tried.fit(preparation.take(prepared.inputs, places), prepared.values[places])
    found: dict[int, tuple[float, float]] = {}
    by_identity = {id(one): index for index, one in enumerate(pipelines)}
    table = tried.cv_results_
    # A halving search lists a candidate once per round; the last round had the most rows.
    for params, mean, spread in zip(table["params"], table["mean_test_score"], table["std_test_score"], strict=True):
        found[by_identity[id(params["candidate"])]] = (float(mean), float(spread))
    if kind == "halving":
        survivors = {by_identity[id(one["candidate"])] for one in table["params"][-_last_round(table) :]}
        found = {index: one if index in survivors else (math.nan, math.nan) for index, one in found.items()}
    return [found[index] for index in range(len(pipelines))]


def _last_round(table: dict[str, Any]) -> int:
    rounds = np.asarray(table["iter"])
    return int((rounds == rounds.max()).sum())


def _best(
    candidates: list[Candidate], results: list[tuple[float, float]], report: dict[str, Any], prepared: Prepared
) -> Chosen:
    means = [mean for mean, _ in results]
    if all(math.isnan(mean) for mean in means):
        raise errors.TrainingFailed(
            f"no candidate has a {prepared.scoring} on these folds; use fewer folds or more rows"
        )
    sign = 1.0 if scores.SCORES[prepared.scoring].more_is_better else -1.0
    # The first of equals wins: candidates come in an order that is the same every time.
    order = sorted(range(len(means)), key=lambda index: (math.isnan(means[index]), -np.nan_to_num(means[index]), index))
    listed = [
        {
            "estimator": candidates[index].estimator,
            "params": candidates[index].params,
            "mean": None if math.isnan(means[index]) else sign * means[index],
            "std": None if math.isnan(means[index]) else results[index][1],
        }
        for index in order[:REPORTED]
    ]
    return Chosen(candidates[order[0]], {**report, "tried": len(means), "candidates": listed})
