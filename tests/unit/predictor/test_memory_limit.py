"""A predictor may take what its container or machine has, and a load that needs more fails by itself."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.pipeline import make_pipeline

from model_store.runtime import features
from predictor import memory_limit
from tests.unit.predictor.artefacts import NUMBERS, Shelf, regression
from trainer.compile import convert

MIB = 2**20
MEMINFO = "MemTotal:       24684084 kB\nMemFree:        20372948 kB\n"
UNLIMITED_V1 = "9223372036854771712"


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("own", "groups", "expected"),
    [
        ("0::/\n", {"memory.max": "3221225472\n"}, 3072 * MIB),
        ("0::/\n", {"memory.max": "max\n"}, 24684084 * 1024),
        ("0::/a/b\n", {"a/memory.max": "1000000\n", "a/b/memory.max": "max\n"}, 1_000_000),
        ("0::/a/b\n", {"a/memory.max": "max\n", "a/b/memory.max": "1000000\n"}, 1_000_000),
        ("4:memory:/\n0::/\n", {"memory/memory.limit_in_bytes": "1000000\n"}, 1_000_000),
        ("4:memory:/\n0::/\n", {"memory/memory.limit_in_bytes": UNLIMITED_V1}, 24684084 * 1024),
        # A container whose name for itself is its host's.
        ("8:pids:/d/1\n4:cpu,memory:/d/1\n", {"memory/memory.limit_in_bytes": "1000000\n"}, 1_000_000),
        ("8:pids:/\n", {"memory/memory.limit_in_bytes": "1000000\n"}, 24684084 * 1024),
        ("", {}, 24684084 * 1024),
    ],
)
def test_what_there_is_is_the_least_that_anything_says(
    tmp_path: Path, own: str, groups: dict[str, str], expected: int
) -> None:
    proc = written(tmp_path / "proc", {"meminfo": MEMINFO, "self/cgroup": own})
    assert memory_limit.available_bytes(proc, written(tmp_path / "groups", groups)) == expected


def test_where_nothing_says_how_much_there_is_nothing_is_known(tmp_path: Path) -> None:
    assert memory_limit.available_bytes(tmp_path, tmp_path) is None


def test_a_margin_stays_and_a_stricter_limit_too() -> None:
    limit = memory_limit.limit_bytes(3072 * MIB, -1, -1)
    assert 0.9 * 3072 * MIB < limit < 3072 * MIB
    assert memory_limit.limit_bytes(3072 * MIB, 4096 * MIB, -1) == limit
    assert memory_limit.limit_bytes(3072 * MIB, 1024 * MIB, 2048 * MIB) == 1024 * MIB
    assert memory_limit.limit_bytes(3072 * MIB, -1, 2048 * MIB) == 2048 * MIB


def test_a_predictor_limits_itself_before_anything_else(tmp_path: Path) -> None:
    code = "import resource, predictor.__main__ as p; print(p.main(), *resource.getrlimit(resource.RLIMIT_DATA))"
    settings = {"WARREN_PATHS__VERIFY_KEY_FILE": str(tmp_path / "missing"), "WARREN_PATHS__MODELS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=os.environ | settings
    )
    status, soft, hard = map(int, done.stdout.splitlines()[-1].split())
    there = memory_limit.available_bytes(Path("/proc"), Path("/sys/fs/cgroup"))
    assert there is not None
    assert (status, hard) == (1, resource.getrlimit(resource.RLIMIT_DATA)[1])
    assert soft == memory_limit.limit_bytes(there, *resource.getrlimit(resource.RLIMIT_DATA))


def forest() -> bytes:
    """The graph of a forest over two numbers, some MB."""
    random = np.random.default_rng(0)
    numbers, values = random.normal(size=(20_000, 2)), random.normal(size=20_000)
    rows = features.build(numbers, np.empty((len(numbers), 0), dtype=object), ["number 0", "number 1"])
    fitted = make_pipeline(ExtraTreesRegressor(8, max_features=1, random_state=0)).fit(rows, values)
    return convert.graph(fitted, convert.EXACT, 2, 0, False)


def test_a_load_without_room_is_refused_and_the_process_goes_on(shelf: Shelf) -> None:
    shelf.publish(regression(), "small")
    shelf.publish(forest(), "large", schema=NUMBERS)
    arguments = [str(shelf.volume.root), str(shelf.verify_key_file), "small", "large"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.predictor.short_of_memory", *arguments],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == [["too_large", [0.0]]] * 4 + [["loaded", [0.0]]]


def test_a_request_without_room_is_refused_and_those_beside_it_are_answered(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.predictor.short_of_room", str(tmp_path)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *refused, together, alone, others = json.loads(done.stdout.splitlines()[-1])
    assert refused == [[3, "too_large", 3]] * 5 + [[2, "too_large", 2]]
    assert (together, alone, others) == ("retry_alone", [2**19], [3, 2])
