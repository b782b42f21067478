"""The pure core of a training: a typed table and a request in, a fitted and judged pipeline out.

Stands between reading the dataset and compiling the artefact. A function of its arguments: no
disk, no broker, the same result for the same table (seeds are fixed; only ``auto``'s time limit
looks at a clock).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sklearn.base import clone
from threadpoolctl import threadpool_limits

from trainer import auto, judgement, pipeline, preparation, search
from trainer.metrics import Predicted
from trainer.preparation import Prepared
from trainer.progress import Progress, silent
from trainer.refusals import Warned, refusing
from trainer.search import Candidate
from trainer.table_files import TypedTable
from wire import catalogue, messages


@dataclass(frozen=True)
class Fitted:
    """A pipeline, what it was fitted on, and how it was judged.

    ``estimator`` and ``params`` are those that were chosen, ``params`` as JSON. ``report`` goes
    into the manifest. ``predicted``: the answers for the holdout, None where folds judged.
    """

    pipeline: Any
    prepared: Prepared
    estimator: str
    params: dict[str, Any]
    score: float | None
    metrics: dict[str, float]
    report: dict[str, Any]
    predicted: Predicted | None


def fit(table: TypedTable, request: messages.TrainRequest, progress: Progress | None = None) -> Fitted:
    """Train as the request says. Raises errors.TrainingFailed with a sentence that says what to change."""
    # One thread: on cores that others use too, threads that wait for each other cost many times
    # what they gain, and sums in another order have other last bits.
    with threadpool_limits(1):
        return _fit(table, request, progress or silent())


def _fit(table: TypedTable, request: messages.TrainRequest, progress: Progress) -> Fitted:
    progress.stage("preparing")
    prepared = preparation.prepare(table, request)
    warned = Warned()
    progress.stage("choosing")
    chosen, report = _choose(request, prepared, progress, warned)
    progress.stage("fitting", chosen.estimator)
    unfitted = pipeline.build(chosen.estimator, chosen.params, prepared.schema, prepared.facts)
    learnt = prepared.training
    with refusing(chosen.estimator), warned.collecting():
        fitted = clone(unfitted).fit(prepared.input_rows(learnt), prepared.values[learnt])
    progress.stage("judging")
    judged = judgement.judge(chosen.estimator, unfitted, fitted, request.validation, prepared, progress, warned)
    report |= judged.report
    report["rows"] = _rows(table, prepared)
    report["notes"] = [*prepared.notes, *judged.report.get("notes", []), *_advice(judged)]
    report["warnings"] = warned.sentences()
    return Fitted(
        fitted, prepared, chosen.estimator, chosen.params, judged.score, judged.metrics, report, judged.predicted
    )


def _choose(
    request: messages.TrainRequest, prepared: Prepared, progress: Progress, warned: Warned
) -> tuple[Candidate, dict[str, Any]]:
    """The estimator and parameters to fit, and how they were found."""
    if request.estimator == catalogue.AUTO:
        candidates = auto.candidates(prepared.task, len(prepared.training), len(prepared.classes or ()))
        chosen = search.choose(candidates, request, prepared, progress, warned)
        return chosen.best, {"auto": chosen.report}
    if request.search is not None:
        chosen = search.run(request, request.search, prepared, progress, warned)
        return chosen.best, {"search": chosen.report}
    return Candidate(request.estimator, dict(request.params)), {}


def _rows(table: TypedTable, prepared: Prepared) -> dict[str, int]:
    return {
        "table": len(table.frame),
        "without_target": len(table.frame) - len(prepared.frame),
        "training": len(prepared.training),
        "holdout": len(prepared.judging),
    }


def _advice(judged: judgement.Judgement) -> list[str]:
    if judged.report.get("baseline", {}).get("beaten") is False:
        return ["this version is no better than a guess that ignores the columns"]
    return []
