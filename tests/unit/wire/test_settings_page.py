from pathlib import Path

import pytest

from wire import settings, settings_page


def test_every_setting_is_on_the_page_with_its_variable_and_meaning() -> None:
    page = settings_page.render()
    for section, info in settings.Settings.model_fields.items():
        for name, field in info.annotation.model_fields.items():  # type: ignore[union-attr]
            (line,) = [line for line in page.splitlines() if f"| `WARREN_{section.upper()}__{name.upper()}`" in line]
            assert field.description, f"{section}.{name} has no text under it"
            assert line.count(" | ") >= 3


def test_bounds_and_types_are_said_in_words() -> None:
    page = settings_page.render()
    assert "| `WARREN_BROKER__HEARTBEAT_S` | `10` | whole number, ≥ 1, ≤ 300 |" in page
    assert "| `WARREN_LEDGER__PASSWORD_FILE` |  | path |" in page
    assert "| `WARREN_API__KEYS` | `off` | `off` or `required` |" in page


def test_check_says_whether_the_page_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_page, "PAGE", tmp_path / "settings.md")
    assert settings_page.main(["--check"]) == 1
    assert settings_page.main([]) == 0
    assert settings_page.main(["--check"]) == 0
    settings_page.PAGE.write_text("old")
    assert settings_page.main(["--check"]) == 1


def test_the_page_in_the_checkout_is_up_to_date() -> None:
    assert settings_page.main(["--check"]) == 0
