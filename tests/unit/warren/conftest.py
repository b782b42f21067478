"""Tests of the client and the command see no address, key or profile of whoever runs them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.warren.gateway import Script, ScriptedGateway
from warren.command import main
from warren.patience import Retries

Run = Callable[..., tuple[int, str, str]]
QUICK = Retries(attempts=4, total_s=20, first_pause_s=0.01, longest_pause_s=3)


@pytest.fixture(autouse=True)
def no_gateway_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ("WARREN_URL", "WARREN_API_KEY", "WARREN_PROFILE", "WARREN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the command against a gateway with this script: its status, what it wrote, what it said."""

    def call(script: list[Script], *arguments: str) -> tuple[int, str, str]:
        with ScriptedGateway(*script) as gateway:
            status = main(["--url", gateway.url, *arguments])
        return (status, *capfd.readouterr())

    return call
