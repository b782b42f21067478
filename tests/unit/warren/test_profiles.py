"""Which gateway, which key, and to whom the key is never sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from warren import InvalidConfig, profiles
from warren.connection import Target

KEY, OTHER = "wk_aaaaaaaa_x", "wk_bbbbbbbb_y"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with a profile file of two gateways."""
    path = tmp_path / "warren" / "config.toml"
    path.parent.mkdir()
    path.write_text(
        f'default = "work"\n[profiles.work]\nurl = "https://work.example"\napi_key = "{KEY}"\n'
        '[profiles.here]\nurl = "http://127.0.0.1:8090"\n'
    )
    path.chmod(0o600)
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_without_anything_it_is_the_gateway_of_this_machine(tmp_path: Path) -> None:
    assert profiles.target(environment={"HOME": str(tmp_path)}) == Target("http://127.0.0.1:8080")


def test_the_default_profile_then_the_environment_then_what_is_given(home: dict[str, str]) -> None:
    assert profiles.target(environment=home) == Target("https://work.example", KEY)
    named = {**home, "WARREN_PROFILE": "here"}
    assert profiles.target(environment=named).url == "http://127.0.0.1:8090"
    assert profiles.target(environment={**named, "WARREN_URL": "http://env"}).url == "http://127.0.0.1:8090"
    environment = {**home, "WARREN_URL": "http://env/", "WARREN_API_KEY": OTHER}
    assert profiles.target(environment=environment) == Target("http://env", OTHER)
    assert profiles.target("http://given", environment=environment).url == "http://given"
    assert profiles.target(profile="here", environment=environment) == Target("http://127.0.0.1:8090")
    assert profiles.names(home) == ["here", "work"]


def test_a_key_goes_only_where_it_belongs(home: dict[str, str]) -> None:
    assert profiles.target("https://elsewhere.example", environment=home).api_key == ""
    assert profiles.target("https://work.example/", environment=home).api_key == ""
    environment = {**home, "WARREN_URL": "http://env", "WARREN_API_KEY": OTHER}
    assert profiles.target("http://elsewhere", environment=environment).api_key == ""
    assert profiles.target("http://env/", environment=environment).api_key == OTHER
    assert profiles.target("http://elsewhere", OTHER, environment=environment).api_key == OTHER
    named = {**environment, "WARREN_PROFILE": "here"}
    assert profiles.target(environment=named) == Target("http://127.0.0.1:8090")
    assert profiles.target(environment={**named, "WARREN_PROFILE": "work"}) == Target("https://work.example", KEY)
    assert profiles.target(environment={**named, "WARREN_URL": "http://127.0.0.1:8090/"}).api_key == OTHER


def test_a_file_with_a_key_that_others_may_read_is_refused(home: dict[str, str]) -> None:
    path = profiles.location(home)
    path.chmod(0o644)
    with pytest.raises(InvalidConfig, match=f"chmod 600 {path}"):
        profiles.target(environment=home)
    assert profiles.names(home) == []
    path.write_text('[profiles.here]\nurl = "http://127.0.0.1:8090"\n')
    assert profiles.target(profile="here", environment=home).url == "http://127.0.0.1:8090"


@pytest.mark.parametrize(
    "text", ["default = 3", "[profiles.x]\nurl = 3", "nonsense", "[profiles.x]\nkey = ''\nurl = ''"]
)
def test_a_file_that_is_none_is_named(home: dict[str, str], text: str) -> None:
    profiles.location(home).write_text(text)
    with pytest.raises(InvalidConfig, match="is no profile file"):
        profiles.target(environment=home)


def test_what_cannot_be_read_and_what_is_not_there_is_named(home: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="has no profile x; it has: here, work"):
        profiles.target(profile="x", environment=home)
    with pytest.raises(InvalidConfig, match="cannot be read"):
        profiles.target(environment={"WARREN_CONFIG": str(tmp_path)})


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://x", "http://", "http://x:0", "http://a@b", "http://x?y", "http://[::"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidConfig):
        Target(url)


def test_what_is_no_key_is_refused() -> None:
    for key in ("wk_\n", "wk x", "wk_é"):
        with pytest.raises(InvalidConfig):
            Target("http://x", key)


def test_only_a_key_on_a_network_is_in_the_clear() -> None:
    assert Target("http://example.org", KEY).in_the_clear
    for safe in (Target("http://example.org"), Target("https://example.org", KEY), Target("http://localhost:1", KEY)):
        assert not safe.in_the_clear
    assert Target("http://[::1]:8080").local
