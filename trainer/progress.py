"""How far a training is: from the steps of fitting, searching and judging to one rising fraction.

Every stage owns a span of the whole; inside it, steps move the fraction. The child turns each
report into a line on standard output.
"""

from __future__ import annotations

from collections.abc import Callable

from trainer.spec import ChildProgress

_SPANS: dict[str, tuple[float, float]] = {
    "reading": (0.0, 0.05),
    "preparing": (0.05, 0.1),
    "choosing": (0.1, 0.6),
    "fitting": (0.6, 0.7),
    "judging": (0.7, 0.8),
    "compiling": (0.8, 0.95),
    "writing": (0.95, 1.0),
}
"""The stages in order, and the part of the whole each stands for."""


class Progress:
    """Reports that never fall: ``stage`` enters one, ``step`` moves inside it."""

    def __init__(self, emit: Callable[[ChildProgress], None]) -> None:
        """Report through ``emit``, which is called once for every stage and step."""
        self._emit = emit
        self._stage = "reading"
        self._fraction = 0.0

    def stage(self, name: str, message: str = "") -> None:
        """Enter a stage. Raises KeyError for one that is not known."""
        self._stage = name
        self._report(_SPANS[name][0], message)

    def step(self, done: int, total: int, message: str = "") -> None:
        """``done`` of ``total`` steps of the present stage are behind us."""
        start, stop = _SPANS[self._stage]
        self._report(start + (stop - start) * min(1.0, done / max(1, total)), message)

    def _report(self, fraction: float, message: str) -> None:
        self._fraction = max(self._fraction, round(fraction, 4))
        self._emit(ChildProgress(self._fraction, self._stage, message))


def silent() -> Progress:
    """A progress nobody listens to."""
    return Progress(lambda _: None)
