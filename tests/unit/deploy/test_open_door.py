"""A stack that other machines can reach needs keys; and keys are made beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.native import commands, nginx, programs
from deploy.native.layout import CHECKOUT, DeploymentError, Layout
from deploy.native.ports import PortBlock

BLOCK = PortBlock(20_400)


def a_layout(home: Path, listen: str = "") -> Layout:
    return Layout.from_environment({"WARREN_HOME": str(home), "WARREN_PORT": "8521", "WARREN_LISTEN": listen})


@pytest.mark.parametrize("listen", ["0.0.0.0", "192.168.1.10"])
@pytest.mark.parametrize("environment", [{}, {"WARREN_API__KEYS": "off"}])
def test_an_open_door_without_keys_is_refused_with_what_to_do(
    tmp_path: Path, listen: str, environment: dict[str, str]
) -> None:
    with pytest.raises(DeploymentError) as refused:
        commands.up(a_layout(tmp_path / "home", listen), environment, print)
    assert "make key args='create --owner NAME --scope admin'" in str(refused.value)
    assert f"WARREN_API__KEYS=required WARREN_LISTEN={listen} make up" in str(refused.value)
    assert not (tmp_path / "home").exists(), "nothing was made or started"


def test_an_open_door_with_an_example_password_is_refused(tmp_path: Path) -> None:
    environment = {"WARREN_API__KEYS": "required", "WARREN_LEDGER__URL": "postgresql+psycopg://warren:warren@db/w"}
    with pytest.raises(DeploymentError, match="stands in examples"):
        commands.up(a_layout(tmp_path / "home", "0.0.0.0"), environment, print)


@pytest.mark.parametrize("listen", ["everywhere", "::", "1.2.3", "0.0.0.0; include x"])
def test_what_is_no_address_is_refused(tmp_path: Path, listen: str) -> None:
    with pytest.raises(DeploymentError, match="WARREN_LISTEN"):
        a_layout(tmp_path, listen)


@pytest.mark.parametrize(
    ("listen", "url"),
    [("", "http://127.0.0.1:8521"), ("0.0.0.0", "http://127.0.0.1:8521"), ("10.1.2.3", "http://10.1.2.3:8521")],
)
def test_nginx_listens_where_it_is_told_and_nothing_else_does(tmp_path: Path, listen: str, url: str) -> None:
    layout = a_layout(tmp_path / "home", listen)
    assert f"listen {listen or '127.0.0.1'}:8521 " in nginx.render(layout)
    assert layout.url == url
    for program in programs.programs(layout, BLOCK, {"WARREN_API__HOST": "0.0.0.0"}):
        assert program.environment.get("WARREN_API__HOST", "127.0.0.1") == "127.0.0.1" or program.group != "api"
        assert program.environment.get("WARREN_PROCESS__METRICS_HOST", "127.0.0.1") == "127.0.0.1"


def test_the_welcome_of_a_stack_with_keys_shows_how_to_get_one(tmp_path: Path) -> None:
    layout = a_layout(tmp_path / "home")
    assert "make -s key" in commands._welcome(layout, "required")
    assert "Bearer" not in commands._welcome(layout, "off")


def test_a_key_is_made_before_the_first_start(tmp_path: Path) -> None:
    layout = a_layout(tmp_path / "home")
    command, environment = commands.key(layout, {"SECRET": "s"}, ["create", "--owner", "boss", "--scope", "admin"])
    assert "SECRET" not in environment
    made = subprocess.run(command, env=environment, cwd=layout.checkout, capture_output=True, text=True, timeout=60)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith("wk_")
    command, environment = commands.key(layout, {}, [])
    assert command[-1] == "list"


def test_what_a_key_leaves_before_the_first_start_is_for_its_owner(tmp_path: Path) -> None:
    home = tmp_path / "home"
    subprocess.run(
        [sys.executable, "-m", "deploy.native", "key", "create", "--owner", "boss", "--scope", "admin"],
        env={**os.environ, "WARREN_HOME": str(home)}, cwd=CHECKOUT, umask=0o022, check=True, capture_output=True,
        timeout=60,
    )  # fmt: skip
    made = {path: path.stat().st_mode & 0o777 for path in (home, *home.rglob("*"))}
    assert made[home / "ledger" / "ledger.sqlite3"] == 0o640
    assert not [path for path, mode in made.items() if mode & 0o006]
