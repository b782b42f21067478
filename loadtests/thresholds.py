"""Decides whether a load test passed: no failed request, and a p99 within bounds."""

from __future__ import annotations

import logging

from locust.env import Environment

log = logging.getLogger(__name__)


def judge(environment: Environment) -> None:
    """Set the exit code: 1 when a threshold was crossed or nothing was measured."""
    options, stats = environment.parsed_options, environment.stats
    assert options is not None
    problems = []
    if stats.total.num_requests == 0:
        problems.append("no request was made")
    if stats.total.fail_ratio > options.max_error_ratio:
        problems.append(f"{stats.total.num_failures} of {stats.total.num_requests} requests failed")
    for (name, _method), entry in sorted(stats.entries.items()):
        p99_ms = entry.get_response_time_percentile(0.99) or 0
        if name.startswith("POST /predict") and p99_ms > options.max_p99_ms:
            problems.append(f"{name}: p99 {p99_ms:.0f} ms is over {options.max_p99_ms:.0f} ms")
    for problem in problems:
        log.error("load test failed: %s", problem)
    environment.process_exit_code = 1 if problems else 0
