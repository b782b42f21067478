from collections.abc import Iterator

import pytest

from wire import settings


@pytest.fixture(autouse=True)
def read_anew() -> Iterator[None]:
    settings.load.cache_clear()
    yield
    settings.load.cache_clear()


def test_a_variable_sets_the_field_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_PREDICT__DEADLINE_MS", "750")
    assert settings.load().predict.deadline_ms == 750


def test_settings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings.load()
    monkeypatch.setenv("WARREN_PREDICT__DEADLINE_MS", "750")
    assert settings.load() is before


def test_a_misspelt_field_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_PREDICT__DEADLINE", "750")
    with pytest.raises(ValueError, match="deadline"):
        settings.load()
