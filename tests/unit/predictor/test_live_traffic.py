"""Bulk work leaves the time to live predictions, and goes on all the same when they never end."""

from __future__ import annotations

import time

from predictor.live_traffic import REST, LiveTraffic


class Clock:
    """Records the pauses and takes them."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        time.sleep(seconds)


def test_without_live_predictions_nothing_waits() -> None:
    clock = Clock()
    LiveTraffic(10, 10, clock.pause).wait_quiet(worked_s=1)
    assert clock.pauses == []


def test_a_part_waits_until_a_burst_is_over() -> None:
    clock = Clock()
    traffic = LiveTraffic(0.05, 10, clock.pause)
    traffic.arrived()
    begun = time.monotonic()
    traffic.wait_quiet()
    assert time.monotonic() - begun >= 0.05


def test_after_live_predictions_a_part_is_followed_by_a_longer_rest() -> None:
    clock = Clock()
    traffic = LiveTraffic(0.0, 10, clock.pause)
    traffic.arrived()
    traffic.wait_quiet(worked_s=0.02)
    assert clock.pauses == [REST * 0.02]


def test_a_part_waits_for_what_is_being_worked_on() -> None:
    traffic = LiveTraffic(0.0, 0.1)
    begun = time.monotonic()
    with traffic.working():
        traffic.wait_quiet()
    assert time.monotonic() - begun >= 0.1
    traffic.wait_quiet()
    assert time.monotonic() - begun < 5


def test_unbroken_live_traffic_does_not_stop_bulk_work_for_ever() -> None:
    traffic = LiveTraffic(quiet_s=0.5, patience_s=0.1, pause=lambda _s: traffic.arrived())
    traffic.arrived()
    begun = time.monotonic()
    traffic.wait_quiet()
    assert 0.1 <= time.monotonic() - begun < 5
