"""Nobody unknown gets in: an address that others reach needs keys and real passwords."""

from __future__ import annotations

from pathlib import Path

import pytest

from wire import exposure, settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    assert exposure.objection(host, "off", {"A": "guest"}) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "example.org", ""])
def test_anything_else_needs_keys_and_a_password_of_ones_own(host: str) -> None:
    assert "WARREN_API__KEYS=required" in exposure.objection(host, "off", {})
    assert "WARREN_BROKER__PASSWORD_FILE" in exposure.objection(
        host, "required", {"WARREN_LEDGER__PASSWORD_FILE": "", "WARREN_BROKER__PASSWORD_FILE": "Guest"}
    )
    assert exposure.objection(host, "required", {"A": "Zr4…9", "B": ""}) == ""


def test_the_password_of_a_url_is_found() -> None:
    assert exposure.password_of("postgresql+psycopg://w:pass%77ord@db/w") == "password"
    assert exposure.password_of("sqlite:///x") == exposure.password_of("postgresql://w:x@[broken") == ""


def test_an_open_replica_stops_at_its_start_with_what_to_do(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("Zr4-hfe8-Qw2\n")
    door = settings.Api(host="0.0.0.0", keys="required")
    with pytest.raises(ValueError, match="WARREN_API__KEYS=required"):
        settings.Settings(api=settings.Api(host="0.0.0.0"))
    with pytest.raises(ValueError, match="WARREN_BROKER__PASSWORD_FILE"):
        settings.Settings(api=door)
    broker = settings.Broker(password_file=secret)
    with pytest.raises(ValueError, match="WARREN_LEDGER__PASSWORD_FILE") as refused:
        settings.Settings(api=door, broker=broker, ledger=settings.Ledger(url="postgresql+psycopg://w:changeme@db/w"))
    assert "changeme" not in str(refused.value)
    ledger = settings.Ledger(password_file=secret)
    assert settings.Settings(api=door, broker=broker, ledger=ledger).api == door
    missing = settings.Broker(password_file=tmp_path / "later")
    assert settings.Settings(api=door, broker=missing).broker == missing
