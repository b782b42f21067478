from __future__ import annotations

import pytest

from benchmarks import plan
from benchmarks.servers import NAMES
from benchmarks.workloads import WORKLOADS


def test_the_whole_run_takes_less_than_an_hour() -> None:
    memory_and_start_s = 240
    assert plan.seconds(plan.blocks()) + memory_and_start_s < 60 * 60


def test_every_block_that_compares_speed_begins_and_ends_with_warren() -> None:
    for block in plan.blocks():
        if block.cell.between:
            assert block.servers[0] == block.servers[-1] == plan.WARREN, block.key


def test_no_peer_is_more_than_the_planned_turns_away_from_warren() -> None:
    for block in plan.blocks():
        if not block.cell.between:
            continue
        alone = " ".join("W" if name == plan.WARREN else "p" for name in block.servers).split("W")
        assert max(part.count("p") for part in alone) <= block.cell.between, block.key


def test_the_order_of_the_peers_rotates_from_round_to_round() -> None:
    orders = [block.servers for block in plan.blocks("logistic//1x64")]
    assert len(orders) == plan.ROUNDS
    assert len(set(orders)) == plan.ROUNDS
    assert len({tuple(sorted(set(order))) for order in orders}) == 1


@pytest.mark.parametrize("cell", ["1x1", "1x64"])
def test_both_settings_of_every_framework_meet_one_and_sixty_four_connections(cell: str) -> None:
    wanted = {name for name, server in NAMES.items() if server.kind == "framework"}
    for workload in WORKLOADS:
        for block in plan.blocks(f"{workload.name}//{cell}"):
            assert wanted <= set(block.servers)


def test_a_part_can_be_chosen_by_model_server_and_cell() -> None:
    found = plan.blocks("forest/BentoML/1x64", rounds=1)
    assert [block.key for block in found] == ["forest/0/1x64"]
    assert set(found[0].servers) == {plan.WARREN, "BentoML, batching off", "BentoML, batching on"}


def test_rotating_keeps_every_peer_once() -> None:
    order = plan.turns(["a", "b", "c", "d", "e"], between=2, shift=3)
    assert order == ("Warren", "d", "e", "Warren", "a", "b", "Warren", "c", "Warren")
    assert plan.turns(["a", "b"], between=0, shift=1) == ("b", "a")
