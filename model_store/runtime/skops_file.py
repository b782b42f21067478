"""The other runtime: a signed skops file's bytes in, the fitted scikit-learn pipeline out.

Only versions whose graph was not proven equal, or is not the cheaper, come here. scikit-learn,
pandas and skops are imported on the first of them, never before.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from model_store import errors
from model_store.runtime import archive, features, node_bounds, outputs, trusted


class PipelineRuntime(outputs.Runtime):
    """A fitted pipeline whose target is class indices (classification) or float64 (regression)."""

    kind: ClassVar[Literal["onnx", "skops"]] = "skops"

    def __init__(self, pipeline: Any, size_bytes: int) -> None:
        from sklearn.base import is_classifier

        self.size_bytes = size_bytes
        self._pipeline: Any | None = pipeline
        self._classifies = is_classifier(pipeline)
        self._has_probabilities = self._classifies and hasattr(pipeline, "predict_proba")
        self._names = [str(name) for name in getattr(pipeline, "feature_names_in_", ())]

    def predict(self, numbers: outputs.Numbers, texts: outputs.Texts, probabilities: bool = False) -> outputs.Output:
        """Answer every row. Raises outputs.CannotPredict."""
        pipeline = self._pipeline
        if pipeline is None:
            raise outputs.CannotPredict("this version was unloaded")
        try:
            rows = features.build(numbers, texts, self._names)
            # A number that overflows is either refused below or answered with an infinity.
            with np.errstate(all="ignore"):
                labels = np.asarray(pipeline.predict(rows)).reshape(-1)
                scores = pipeline.predict_proba(rows) if probabilities and self._has_probabilities else None
        except (ValueError, ArithmeticError, LookupError) as error:
            # What is left for scikit-learn to refuse after typed decoding: numbers beyond float32.
            raise outputs.CannotPredict("a number is too large for this model") from error
        if scores is not None:
            scores = np.ascontiguousarray(scores, dtype=np.float64)
        return outputs.Output(labels.astype(np.int64 if self._classifies else np.float64, copy=False), scores)

    def close(self) -> None:
        """Drop the pipeline; its memory goes with the last predict that uses it."""
        self._pipeline = None


def load(data: bytes) -> PipelineRuntime:
    """Build the pipeline from what passes every check. Raises errors.Corrupt or errors.TooLarge."""
    archive.check(data)
    import skops.io

    try:
        pipeline = skops.io.loads(data, trusted=sorted(trusted.TYPES))
        if not hasattr(pipeline, "predict"):
            raise errors.Corrupt("the skops file holds nothing that predicts")
        node_bounds.check(pipeline)
        return PipelineRuntime(pipeline, len(data))
    except (errors.StoreError, MemoryError):
        raise
    except Exception as error:  # a file that passed the checks and is still none can fail anywhere
        raise errors.Corrupt("the skops file cannot be loaded") from error
