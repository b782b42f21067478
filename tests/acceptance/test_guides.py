"""The tutorial and the pages of the client and the command, run block by block as a reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stack import Stack
from tests.source_tree import CHECKOUT

Block = tuple[str, str]


def blocks(page: str, *languages: str) -> list[Block]:
    """A page's blocks of some languages, in order."""
    found = re.findall(r"^```(\w+)\n(.*?)^```", (CHECKOUT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found if language in languages]


class Reader:
    """Runs blocks in a folder that looks like the checkout: shell blocks one by one, Python's in one session."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        for name in ("docs", ".venv"):
            (folder / name).symlink_to(CHECKOUT / name)
        self._folder = folder
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WARREN_")},
            "PATH": f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(CHECKOUT),
            "XDG_CONFIG_HOME": str(folder),
            "WARREN_URL": stack.url,
            "WARREN_API_KEY": stack.key,
        }
        self._names: dict[str, Any] = {}

    def run(self, block: Block) -> str:
        """What a shell block prints; Python's print for themselves."""
        language, text = block
        if language == "python":
            exec(compile(text, "<block>", "exec"), self._names)
            return ""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, (text, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture
def reader(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.chdir(tmp_path)
    for name, value in {"WARREN_URL": stack.url, "WARREN_API_KEY": stack.key, "XDG_CONFIG_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    return Reader(tmp_path, stack)


def test_the_tutorial_works_as_printed(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    steps = blocks("tutorial.md", "sh", "python")
    assert len(steps) >= 12
    said = "".join(reader.run(step) for step in steps)
    assert "churn-tutorial, version 1: the champion" in said
    assert "champion is served by version 1, before that by 2" in said
    assert "Deleted churn-tutorial with all its versions." in said
    told = capsys.readouterr().out
    assert "100% done" in told
    assert "instances[0].age must be a number" in told


def test_the_pages_of_the_client_and_the_command_work_as_printed(
    reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = blocks("client.md", "python") + blocks("command.md", "sh")
    assert len(steps) >= 6
    said = "".join(reader.run(step) for step in steps)
    assert '"prediction":' in said
    assert "422 bad_input instances[0].age" in capsys.readouterr().out
