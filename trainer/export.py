"""The files of an artefact that are for people: the fitted pipeline for notebooks.

The only module that writes with joblib. No service ever loads this file; what is served is the
graph or the skops file.
"""

from __future__ import annotations

from pathlib import Path

import joblib

from trainer.fit import Fitted

NOTEBOOK_FILE = "model.joblib"
"""``joblib.load`` of it gives a dict: ``pipeline`` (scikit-learn, predicts class indices or
numbers), ``classes`` (by index, None for a regression), ``schema`` (the content of schema.json),
``target``, ``estimator`` and ``params``."""


def write_notebook(folder: Path, fitted: Fitted, target: str) -> str:
    """Write the file into a draft folder; gives its name. Raises OSError."""
    content = {
        "pipeline": fitted.pipeline,
        "classes": fitted.prepared.classes,
        "schema": fitted.prepared.schema.to_builtins(),
        "target": target,
        "estimator": fitted.estimator,
        "params": fitted.params,
    }
    joblib.dump(content, folder / NOTEBOOK_FILE, compress=3)
    return NOTEBOOK_FILE
