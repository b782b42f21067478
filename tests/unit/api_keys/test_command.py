"""``python -m api.keys``: the first key, and the last resort."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.keys import __main__ as command
from api.keys.keyring import Keyring
from api.ledger import Ledger
from tests.source_tree import CHECKOUT
from tests.unit.api_keys.conftest import raw
from wire import settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    monkeypatch.setenv("WARREN_LEDGER__URL", f"sqlite:///{tmp_path}/ledger.sqlite3")
    monkeypatch.setattr(command.logs, "configure", lambda *_: None)
    settings.load.cache_clear()

    def run(*arguments: str) -> tuple[int, str, str]:
        status = command.main(arguments)
        return status, *capsys.readouterr()

    yield run
    settings.load.cache_clear()


async def test_the_first_key_is_shown_once_and_works(run: Run, config: settings.Settings, ledger: Ledger) -> None:
    status, shown, said = run("create", "--owner", "boss", "--scope", "admin")
    assert (status, said, shown.count("\n")) == (0, "", 1)
    keyring = Keyring(config, ledger.keys, asyncio.Event())
    assert (await keyring.ask(raw(shown.strip()), "admin")).owner == "boss"
    status, listed, _ = run("list")
    assert status == 0
    assert shown.split("_", 2)[2].strip() not in listed
    prefix, owner, scopes, rate, _, state = listed.split()
    assert (prefix, owner, scopes, rate, state) == (shown.split("_")[1], "boss", "admin", "unlimited", "live")
    assert run("revoke", prefix)[1] == f"{prefix} is revoked.\n"
    assert run("revoke", prefix)[1] == f"{prefix} was revoked before.\n"
    assert run("list")[1].split()[-1] == "revoked"
    actions = [(deed.actor, deed.action) for deed in ledger.audit.page(before=None, limit=9)]
    assert actions == [("command-line", "key.revoked"), ("command-line", "key.created")]
    await keyring.close()


@pytest.mark.parametrize(
    ("asked", "shown"), [((), "7/s"), (("50",), "50/s"), (("0.5",), "0.5/s"), (("none",), "unlimited")]
)
def test_a_key_gets_the_rate_that_is_asked_for_or_the_settings(
    run: Run, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...], shown: str
) -> None:
    monkeypatch.setenv("WARREN_KEYS__RATE_PER_S", "7")
    settings.load.cache_clear()
    assert run("create", "--owner", "ann", "--scope", "predict", *(("--rate", *asked) if asked else ()))[0] == 0
    assert run("list")[1].split()[3] == shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--owner", "Bad Name", "--scope", "admin"), "owner"),
        (("create", "--owner", "ann", "--scope", "root"), "scopes"),
        (("create", "--owner", "ann", "--scope", "train", "--days", "0"), "days"),
        (("create", "--owner", "ann", "--scope", "train", "--rate", "0"), "rate"),
        (("create", "--owner", "ann", "--scope", "train", "--rate", "nan"), "rate"),
        (("revoke", "zzzzzzzz"), "no key"),
    ],
)
def test_a_mistake_is_said_in_a_sentence(run: Run, arguments: tuple[str, ...], said: str) -> None:
    status, shown, why = run(*arguments)
    assert (status, shown) == (1, "")
    assert said in why
    assert why.count("\n") == 1


def test_it_runs_as_a_process_and_prints_nothing_but_the_key(tmp_path: Path) -> None:
    environment = {**os.environ, "WARREN_LEDGER__URL": f"sqlite:///{tmp_path}/new/ledger.sqlite3"}
    command_line = [sys.executable, "-m", "api.keys", "create", "--owner", "ann", "--scope", "train,predict"]
    done = subprocess.run(
        command_line, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert done.stdout.startswith("wk_")
    assert done.stdout.strip().count("\n") == 0
