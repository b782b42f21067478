"""The new version beside the champion, on rows that neither was trained on.

Reads the champion from the volume as a predictor would (verified, its own runtime, its own
schema) and lets it answer the rows that are in the holdout of both. What can't be compared is
not guessed: the reason is a sentence that the job shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_store import errors as store_errors
from model_store import reading, runtime, signing
from model_store.manifest import Manifest
from model_store.volume import Volume
from tables import frames
from tables.errors import BadSchema
from tables.schema import Schema
from trainer import holdout, metrics
from trainer.fit import Fitted
from trainer.holdout import NotComparable
from trainer.spec import ChildSpec, Comparison
from trainer.table_files import TypedTable
from wire import scoring as scores

SAME = 1e-6
"""Relative difference below which two scores are equal: a graph may differ from its pipeline by
more than that in a probability, and the same training must not lose to itself."""

WAIT_S = 5.0
"""Seconds to wait for a champion that another machine has just published."""


def compare(spec: ChildSpec, fitted: Fitted, table: TypedTable, digest: str) -> Comparison:
    """Judge both versions. ``digest`` is that of the dataset the new one was trained on."""
    if not spec.champion:
        return Comparison(champion=0, champion_score=None, better=None, reason="this model has no champion yet")
    try:
        artefact = reading.read(
            Volume(Path(spec.models_path)),
            spec.request.model,
            spec.champion,
            signing.Verifier(Path(spec.verify_key_path)),
            spec.artefact_bytes,
            wait_s=WAIT_S,
        )
        return _judged(spec, fitted, table, artefact, digest)
    except NotComparable as reason:
        return _not_comparable(spec, f"not comparable with version {spec.champion}: {reason}")
    except (store_errors.StoreError, BadSchema, OSError, ValueError):
        return _not_comparable(spec, f"not comparable: version {spec.champion} can't be read and verified")


def _not_comparable(spec: ChildSpec, reason: str) -> Comparison:
    return Comparison(champion=spec.champion, champion_score=None, better=None, reason=reason)


def _judged(spec: ChildSpec, fitted: Fitted, table: TypedTable, artefact: reading.Artefact, digest: str) -> Comparison:
    theirs = artefact.manifest
    name = fitted.prepared.scoring
    _check_alike(fitted, theirs, spec.request.target)
    if _same_folds(fitted, theirs, digest):
        return _verdict(spec.champion, name, fitted.score, theirs.score, "by the same folds of the same rows")
    if fitted.prepared.split.by_folds:
        raise NotComparable("the new version was judged by folds and trained on every row it had")
    places = _common_rows(fitted, table, theirs, spec.request.model)
    mine = metrics.figure(name, fitted.prepared.values[places], _mine(fitted, places))
    known = _theirs(artefact, fitted, table, places, name)
    return _verdict(spec.champion, name, mine, known, f"on {len(places)} rows that neither was trained on")


def _check_alike(fitted: Fitted, theirs: Manifest, target: str) -> None:
    if theirs.target != target:
        raise NotComparable("it predicts another target")
    if theirs.task != fitted.prepared.task:
        raise NotComparable(f"it is a {theirs.task}")


def _same_folds(fitted: Fitted, theirs: Manifest, digest: str) -> bool:
    mine = fitted.report.get("cross_validation", {})
    other = theirs.report.get("cross_validation", {})
    return (
        fitted.prepared.split.by_folds
        and theirs.holdout.get("method") == "folds"
        and theirs.dataset.get("digest") == digest
        and theirs.scoring == fitted.prepared.scoring
        and mine.get("folds") == other.get("folds")
    )


def _common_rows(fitted: Fitted, table: TypedTable, theirs: Manifest, model: str) -> NDArray[np.int64]:
    """The places, in the prepared table, of rows that are in the holdout of both versions."""
    unseen = holdout.kept_out(fitted.prepared.frame, table.types, theirs.holdout, model)
    both = np.flatnonzero(fitted.prepared.split.holdout & unseen)
    if len(both) < holdout.MIN_HOLDOUT_ROWS:
        raise NotComparable(f"only {len(both)} rows of this table are in the holdout of both")
    return both


def _mine(fitted: Fitted, places: NDArray[np.int64]) -> metrics.Predicted:
    judged = fitted.predicted
    assert judged is not None  # a version that has a holdout was judged on it
    rows = np.searchsorted(fitted.prepared.judging, places)
    table = judged.probabilities
    return metrics.Predicted(judged.values[rows], None if table is None else table[rows])


def _theirs(
    artefact: reading.Artefact, fitted: Fitted, table: TypedTable, places: NDArray[np.int64], name: str
) -> float | None:
    """The champion's score on these rows, by its own schema and runtime."""
    manifest = artefact.manifest
    wants_table = scores.SCORES[name].probabilities
    if wants_table and list(manifest.classes or ()) != list(fitted.prepared.classes or ()):
        raise NotComparable("it knows other classes, and the score is one of probabilities")
    schema = Schema.from_builtins(manifest.features)
    if any(table.types.get(column.name) != column.type for column in schema.columns):
        raise NotComparable("this table lacks one of its columns, or has it in another type")
    batch = frames.from_frame(fitted.prepared.frame.iloc[places], schema)
    loaded = runtime.load(artefact)
    try:
        output = loaded.predict(batch.numbers, batch.texts, probabilities=wants_table)
    except runtime.CannotPredict as error:
        raise NotComparable("it has no answer for some of these rows") from error
    finally:
        loaded.close()
    predicted = metrics.Predicted(_shared_classes(output.labels, manifest, fitted), output.probabilities)
    return metrics.figure(name, fitted.prepared.values[places], predicted)


def _shared_classes(labels: NDArray[Any], manifest: Manifest, fitted: Fitted) -> NDArray[Any]:
    """The champion's class indices as the new version's; classes of its own get indices of their own."""
    if fitted.prepared.all_classes is None:
        return labels
    # 1 and true are equal in Python and are not the same class.
    known = {(type(one), one): index for index, one in enumerate(fitted.prepared.all_classes)}
    places = [known.setdefault((type(one), one), len(known)) for one in manifest.classes or ()]
    shared: NDArray[np.int64] = np.array(places, dtype=np.int64)[labels]
    return shared


def _verdict(champion: int, name: str, mine: float | None, theirs: float | None, where: str) -> Comparison:
    if mine is None or theirs is None:
        raise NotComparable(f"{name} is not defined {where}")
    slack = SAME * max(1.0, abs(theirs))
    more = scores.SCORES[name].more_is_better
    better = mine >= theirs - slack if more else mine <= theirs + slack
    word = "at least as good as" if better else "worse than"
    reason = f"{name} {mine:.6g} is {word} {theirs:.6g} of version {champion}, {where}"
    return Comparison(champion=champion, champion_score=theirs, better=better, reason=reason)
