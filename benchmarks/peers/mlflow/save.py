"""Saves the model in MLflow's format, as ``mlflow models serve`` wants it."""

from __future__ import annotations

import sys

import mlflow.pyfunc
from rows import Model


class Wrapped(mlflow.pyfunc.PythonModel):
    """The pipeline behind MLflow's interface."""

    def load_context(self, context: object) -> None:
        """Load the model once per worker."""
        self.model = Model()

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads annotations
        """Predict the rows of one request."""
        rows = model_input.values.tolist() if hasattr(model_input, "values") else model_input
        return self.model.predict(rows)


mlflow.pyfunc.save_model(sys.argv[1], python_model=Wrapped())
