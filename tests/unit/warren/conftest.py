"""Tests of the client and the command see no address, key or profile of whoever runs them."""

import pytest

from warren.patience import Retries

QUICK = Retries(attempts=4, total_s=20, first_pause_s=0.01, longest_pause_s=3)


@pytest.fixture(autouse=True)
def no_gateway_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ("WARREN_URL", "WARREN_API_KEY", "WARREN_PROFILE", "WARREN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
