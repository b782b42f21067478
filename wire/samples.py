"""The sample datasets a training may name: scikit-learn's own, known here without scikit-learn.

Between a replica, which checks the name, and a trainer, which loads the table.
"""

from __future__ import annotations

from typing import Final

TARGET: Final = "target"
"""The target column of every sample."""

SAMPLES: Final[dict[str, str]] = {
    "iris": "150 flowers of 3 species by 4 measures of their leaves",
    "wine": "178 wines of 3 growers by 13 chemical measures",
    "breast_cancer": "569 tumours, malignant or benign, by 30 measures of cells",
    "digits": "1,797 handwritten digits of 8 by 8 grey levels",
    "diabetes": "442 patients and how their illness went on after a year (a regression)",
}
"""Sample names and what each holds."""
