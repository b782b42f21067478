"""What a person at a terminal sees: the command on a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source_tree import CHECKOUT
from tests.unit.warren.gateway import ACCEPTED, ScriptedGateway, ok
from tests.unit.warren.served import Served
from tests.unit.warren.told import DATASET, DONE, ended


def on_a_terminal(*arguments: str) -> tuple[int, str, str]:
    """The command's status, its standard output, and what its terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "warren", *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:
        pass  # the other side has closed the terminal
    finally:
        os.close(ours)
    written, _ = process.communicate(timeout=60)
    return process.returncode, written.decode(), shown.decode()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("age,plan\n" + "31,basic\n" * 1000)
    return path


def test_a_training_shows_how_far_it_is(table: Path) -> None:
    script = [ok(DATASET, 201), ACCEPTED, ended("succeeded", result=DONE)]
    with ScriptedGateway(*script) as gateway:
        ask = ["train", str(table), "--model", "m", "--target", "plan", "--url", gateway.url]
        status, written, shown = on_a_terminal(*ask)
    assert status == 0
    assert "m, version 4" in written
    assert "\x1b" not in written
    assert "Uploading table.csv" in shown
    assert "50%" in shown


def test_a_prediction_shows_how_far_it_is_and_json_shows_nothing(table: Path) -> None:
    with ScriptedGateway(Served()) as gateway:
        ask = ["predict", "m", str(table), "--url", gateway.url, "--rows", "100"]
        _, written, shown = on_a_terminal(*ask)
        assert len(written.splitlines()) == 1001
        assert "Predicting" in shown
        assert "kB" in shown
        assert "Predicting" not in on_a_terminal(*ask, "--json")[2]
