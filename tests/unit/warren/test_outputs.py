"""Where an output goes: the place of a file, the end of a link, or into a pipe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.warren.gateway import JOB, Answer, ScriptedGateway, ok
from warren import outputs
from warren.command import main

CSV = b"prediction\nyes\n"


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_midway(path: Path) -> None:
    with outputs.replacing(path) as file:
        file.write(CSV)
        raise KeyError


def test_a_pipe_gets_the_bytes_and_stays_a_pipe(pipe: Path, capfd: pytest.CaptureFixture[str]) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with ScriptedGateway(ok({**JOB, "status": "succeeded"}), Answer(200, CSV)) as gateway:
            assert main(["output", "a" * 32, "-o", str(pipe), "--url", gateway.url]) == 0
        assert capfd.readouterr().err == f"Wrote {pipe} (csv).\n"
        assert pipe.is_fifo()
        assert os.read(reader, 100) == CSV
    finally:
        os.close(reader)
    assert names(pipe.parent) == ["pipe"]


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
def test_a_link_stays_and_its_end_is_replaced(tmp_path: Path, there: bool) -> None:
    kept, link = tmp_path / "kept" / "out.csv", tmp_path / "link.csv"
    kept.parent.mkdir()
    if there:
        kept.write_bytes(b"before")
    link.symlink_to(kept)
    with outputs.replacing(link) as file:
        file.write(CSV)
        assert kept.exists() == there
    assert link.is_symlink()
    assert kept.read_bytes() == CSV
    assert names(kept.parent) == ["out.csv"]
    assert names(tmp_path) == ["kept", "link.csv"]


def test_what_fails_leaves_a_links_end_as_it_was(tmp_path: Path) -> None:
    kept, link = tmp_path / "kept.csv", tmp_path / "link.csv"
    kept.write_bytes(b"before")
    link.symlink_to(kept)
    with pytest.raises(KeyError):
        fail_midway(link)
    assert kept.read_bytes() == b"before"
    assert names(tmp_path) == ["kept.csv", "link.csv"]
