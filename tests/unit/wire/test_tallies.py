"""wire.tallies: cheap to count with, exact from several threads, shown as the library shows it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import prometheus_client
import pytest
from prometheus_client import exposition

from wire import tallies

BOUNDS = (0.1, 1.0, 10.0)
AMOUNTS = (0.0, 0.05, 0.1, 0.100001, 1.0, 9.0, 10.0, 11.0, float("inf"))


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Threads that change as often as they can."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual_s)


def test_they_are_shown_as_the_library_shows_its_own() -> None:
    shown = []
    for kinds in (tallies, prometheus_client):
        registry = prometheus_client.CollectorRegistry()
        counter = kinds.Counter("asked", "Questions", ["kind"], registry=registry)
        gauge = kinds.Gauge("level", "A level", registry=registry)
        histogram = kinds.Histogram("seconds", "Seconds", ["kind"], buckets=BOUNDS, registry=registry)
        counter.labels("a").inc()
        counter.labels("a").inc(3)
        counter.labels("b").inc()
        gauge.inc(5)
        gauge.dec()
        gauge.set(gauge._value.get() + 2)
        for amount in AMOUNTS:
            histogram.labels("a").observe(amount)
        text = exposition.generate_latest(registry).decode()
        shown.append([line for line in text.splitlines() if "_created" not in line])
    assert shown[0] == shown[1]
    assert 'asked_total{kind="a"} 4.0' in shown[0]


def test_a_gauge_can_be_asked_when_it_is_shown() -> None:
    registry = prometheus_client.CollectorRegistry()
    tallies.Gauge("held", "Held", registry=registry).set_function(lambda: 7)
    assert registry.get_sample_value("held") == 7


@pytest.mark.usefixtures("impatient_threads")
def test_no_count_of_several_threads_is_lost() -> None:
    registry = prometheus_client.CollectorRegistry()
    counter = tallies.Counter("things", "Things", registry=registry)
    histogram = tallies.Histogram("sizes", "Sizes", buckets=BOUNDS, registry=registry)
    each = 50_000

    def count() -> None:
        for _ in range(each):
            counter.inc()
            histogram.observe(1.0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.get_sample_value("things_total") == 4 * each
    assert registry.get_sample_value("sizes_sum") == 4 * each
    assert registry.get_sample_value("sizes_bucket", {"le": "1.0"}) == 4 * each
