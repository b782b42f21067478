import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.stack import Client, Stack

MIB = 1024 * 1024
GROWTH_BYTES = 50 * MIB


def test_a_large_upload_streams_past_the_memory_of_the_replicas(
    stack: Stack, client: Client, request: pytest.FixtureRequest
) -> None:
    size = request.config.getoption("--upload-mb", default=100) * 1_000_000
    before = replica_peaks(stack)
    answer = client.http.post("/datasets", content=csv_of(size), headers={"Content-Type": "text/csv"}, timeout=300)
    assert answer.status_code == 201, answer.text
    grown = {pid: peak - before[pid] for pid, peak in replica_peaks(stack).items()}
    assert max(grown.values()) < GROWTH_BYTES, grown
    stored = [path for path in stack.layout.datasets.rglob("data.csv") if path.stat().st_size >= size]
    assert len(stored) == 1
    client.call("DELETE", f"/datasets/{answer.json()['dataset_id']}", 204)
    assert not list((stack.layout.nginx / "body").rglob("*[0-9]")), "Nginx keeps no copy"


def csv_of(size: int) -> Iterator[bytes]:
    draw = random.Random(5)
    block = "".join(f"{draw.random():.6f},{draw.randint(0, 9)},{draw.choice('abc')}\n" for _ in range(50_000)).encode()
    yield b"x,y,label\n"
    sent = 0
    while sent < size:
        yield block
        sent += len(block)


def replica_peaks(stack: Stack) -> dict[int, int]:
    """Peak resident bytes of every process of the replicas so far."""
    masters = [one.pid for name, one in stack.processes().items() if name.startswith("api-")]
    pids = [*masters, *(child for master in masters for child in children(master))]
    return {pid: peak_bytes(pid) for pid in pids}


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmHWM for {pid}")
