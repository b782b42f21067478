"""The capacity model, on numbers whose result is known, and the page it writes."""

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.native.layout import Layout
from deploy.native.ports import PortBlock
from deploy.native.programs import programs
from loadtests.capacity import measuring, model, page
from loadtests.capacity.model import Cost, Level, Queue
from loadtests.capacity.page import Check, Findings

KINDS = ("nginx", "replicas", "broker", "predictors", "others", "client")
COSTS = {kind: Cost(400.0, 20.0 + place) for place, kind in enumerate(KINDS)}
QUEUE = Queue(single_per_s=20_000, batched_per_s=5_000, connection_per_s=15_000, own_share=0.5)


def level(connections: int, batch: float, rate: float = 5000.0) -> Level:
    costs = {kind: cost.at(batch) for kind, cost in COSTS.items()}
    return Level(connections, 2, 2, 2, rate, 2.0, batch, costs)


LEVELS = [level(1, 1), level(16, 4), level(256, 64)]


def test_every_process_of_a_stack_is_of_a_kind(tmp_path: Path) -> None:
    layout = Layout.from_environment({"WARREN_HOME": str(tmp_path)})
    kinds = {program.name: measuring.kind(program.name) for program in programs(layout, PortBlock(20_000), {})}
    assert {name: kind for name, kind in kinds.items() if kind != "others"} == {
        "nginx": "nginx",
        "broker": "broker",
        "api-1": "replicas",
        "api-2": "replicas",
        "predictor-1": "predictors",
        "predictor-2": "predictors",
    }


def test_costs_that_follow_the_law_are_found_again() -> None:
    for kind, cost in model.fit(LEVELS).items():
        assert cost.message_us == pytest.approx(400)
        assert cost.request_us == pytest.approx(COSTS[kind].request_us)


@pytest.mark.parametrize("us", [(100.0, 20.0, 1.0), (10.0, 50.0, 90.0)])
def test_no_part_of_a_cost_is_negative(us: tuple[float, float, float]) -> None:
    odd = [replace(one, us={"nginx": value}) for one, value in zip(LEVELS, us, strict=True)]
    cost = model.fit(odd)["nginx"]
    assert cost.message_us >= 0
    assert cost.request_us >= 0
    assert cost.at(4) > 0


def test_the_machine_s_cores_are_the_bound_until_a_replica_s_one_core_is() -> None:
    share = model.batch_share(LEVELS[1:])
    assert share == pytest.approx(0.5)
    everything_us = sum(cost.at(16) for cost in COSTS.values())
    assert model.throughput(COSTS, 2, 64, 2, 2, share) == pytest.approx(2e6 / everything_us)
    assert model.throughput(COSTS, 64, 64, 1, 9, share) == pytest.approx(1e6 / COSTS["replicas"].at(32))


@pytest.mark.parametrize("rate", [10, 1_000, 10_000, 100_000])
def test_a_plan_keeps_everything_below_the_target(rate: int) -> None:
    plan = model.plan(rate, COSTS, 0.002, QUEUE, 500, 250)
    for needed, batch in ((plan.needed, plan.batch), (plan.unbatched, 1.0)):
        assert needed.replicas * model.TARGET >= rate * COSTS["replicas"].at(batch) / 1e6
        assert needed.predictors * model.TARGET >= rate * COSTS["predictors"].at(batch) / 1e6
        assert needed.broker_cores * model.TARGET == pytest.approx(rate * COSTS["broker"].at(batch) / 1e6)
        assert min(needed.replicas, needed.predictors) >= 2
    assert plan.machines >= 2
    assert plan.messages_per_s == pytest.approx(rate / plan.batch)
    assert plan.client_mbit_s == pytest.approx(rate * 500 * 8 / 1e6)


def test_more_than_a_queue_takes_needs_more_queues() -> None:
    assert QUEUE.limit_per_s == 40_000
    plans = [model.plan(rate, COSTS, 0.002, QUEUE, 500, 250) for rate in (1_000, 100_000)]
    assert [plan.shards_without_batches for plan in plans] == [1, 5]


def test_the_page_gets_its_tables_and_keeps_its_text(tmp_path: Path) -> None:
    plans = [model.plan(rate, COSTS, 0.002, QUEUE, 500, 250) for rate in (1_000, 100_000)]
    found = Findings(2, LEVELS, COSTS, QUEUE, [Check(LEVELS[1], 4000.0)], plans, 2.0, 250, 500, 250.0)
    file = tmp_path / "page.md"
    file.write_text(f"before\n{page.BEGIN}old\n{page.END}after\n")
    page.write(page.render(found), file)
    text = file.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| 2 + 2 | 16 | 4,000 | 5,000 | -20% |" in text
    assert "71 replicas, 71 predictors" in text
    page.write("again", file)
    assert file.read_text() == f"before\n{page.BEGIN}\nagain\n{page.END}after\n"


def test_a_page_without_its_marks_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("no marks")
    with pytest.raises(ValueError, match="mark"):
        page.write("text", file)
    assert file.read_text() == "no marks"


def test_the_page_in_the_docs_has_its_marks() -> None:
    text = page.PAGE.read_text()
    assert text.count(page.BEGIN) == text.count(page.END) == 1
