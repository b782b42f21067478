"""What a runtime takes at the batch sizes that serving meets, measured or reckoned, and how two are weighed."""

from __future__ import annotations

import math

import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from model_store.runtime.outputs import Output, Runtime
from model_store.runtime.skops_file import PipelineRuntime
from tests.unit.trainer import compiling
from tests.unit.trainer.compiling import VALUES, Twisted, rows_of
from trainer.compile import speed


class Clock:
    """Stands in for ``time`` where speed is measured: it moves when it is told to."""

    def __init__(self) -> None:
        self.now_ns = 0

    def perf_counter_ns(self) -> int:
        return self.now_ns

    def monotonic(self) -> float:
        return self.now_ns * 1e-9


@pytest.fixture
def native() -> Runtime:
    return PipelineRuntime(compiling.fit(make_pipeline(Ridge()), VALUES, rows_of()), 0)


def test_the_ratio_weighs_small_batches_most() -> None:
    native = {1: 100.0, 100: 100.0, 10_000: 100.0}
    assert speed.ratio(native, native) == 1.0
    assert speed.ratio({1: 10.0, 100: 100.0, 10_000: 200.0}, native) > 1
    assert speed.ratio({1: 200.0, 100: 100.0, 10_000: 20.0}, native) < 1


def test_every_batch_size_is_measured(native: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_SLOW_S", math.inf)
    measured, reckoned = speed.measure(native, rows_of(), 0.01)
    assert (set(measured), reckoned) == ({1, 100, 10_000}, ())


def test_the_largest_batch_is_reckoned_where_it_would_take_too_long(
    native: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(speed, "time", clock)
    sizes: list[int] = []

    def slow(output: Output) -> Output:
        sizes.append(len(output.labels))
        clock.now_ns += 300_000 * len(output.labels)
        return output

    measured, reckoned = speed.measure(Twisted(native, slow), rows_of(), 0.01)
    assert max(sizes) == 100
    assert measured == {1: 300.0, 100: 30_000.0, 10_000: 3_000_000.0}
    assert reckoned == (10_000,)


@pytest.mark.parametrize(("took_ms", "median_us"), [((500, 2), 2_000.0), ((500, 800), 500_000.0)])
def test_an_ask_that_was_held_up_is_not_taken_for_a_slow_one(
    native: Runtime, monkeypatch: pytest.MonkeyPatch, took_ms: tuple[int, ...], median_us: float
) -> None:
    clock, left_ms = Clock(), list(took_ms)
    monkeypatch.setattr(speed, "time", clock)

    def held_up(output: Output) -> Output:
        clock.now_ns += left_ms.pop(0) * 1_000_000
        return output

    assert speed._median_us(Twisted(native, held_up), rows_of(), 0.1) == median_us
    assert not left_ms


def test_a_graph_is_measured_in_parts_and_a_pipeline_whole_as_they_are_served(
    native: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def noted(output: Output) -> Output:
        sizes.append(len(output.labels))
        return output

    monkeypatch.setattr(speed, "_SLOW_S", math.inf)
    runtime = Twisted(native, noted)
    speed.measure(runtime, rows_of(), 0.01)
    assert set(sizes) == {1, 100, 1_000}
    assert sizes.count(1_000) % 10 == 0
    sizes.clear()
    monkeypatch.setattr(runtime, "kind", "skops", raising=False)
    speed.measure(runtime, rows_of(), 0.01)
    assert set(sizes) == {1, 100, 10_000}
