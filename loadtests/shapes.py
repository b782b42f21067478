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

    def tick(self) -> tuple[int, float] | None:
        """The number of clients now and how fast they start; None ends the run."""
        options = self.runner.environment.parsed_options if self.runner else None
        stages = STAGES[options.load_shape if options else "steady"]
        now_s = self.get_run_time()
        for duration_s, users, rate in stages:
            if now_s < duration_s:
                return users, rate
            now_s -= duration_s
        return None
