"""How the number of clients moves during a load test."""

from __future__ import annotations

from locust import LoadTestShape

Stage = tuple[int, int, int]
"""Seconds, clients, clients started a second."""

STAGES: dict[str, tuple[Stage, ...]] = {
    "steady": ((40, 40, 20),),
    "step": ((20, 10, 10), (20, 40, 20), (20, 80, 40), (20, 160, 80)),
    "burst": ((20, 20, 20), (10, 200, 200), (20, 20, 200), (10, 200, 200), (20, 20, 200)),
    "soak": ((3600, 30, 10),),
}
"""The shapes by name; ``--load-shape`` chooses."""


class Shape(LoadTestShape):
    """Goes through the stages of the chosen shape, then ends the run."""

    _ticks = 0

    def reset_time(self) -> None:
        """A run begins (Locust)."""
        self._ticks = 0
        super().reset_time()

    def tick(self) -> tuple[int, float] | None:
        """The number of clients now and how fast they start; None ends the run."""
        self._ticks += 1
        if self._ticks == 2:
            # Between the first two ticks the models were trained: the clock begins after that.
            super().reset_time()
        options = self.runner.environment.parsed_options if self.runner else None
        stages, scale = (STAGES[options.load_shape], options.scale) if options else (STAGES["steady"], 1.0)
        now_s = self.get_run_time()
        for duration_s, users, rate in stages:
            if now_s < duration_s * scale:
                return users, rate
            now_s -= duration_s * scale
        return None
