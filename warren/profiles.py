"""Where the gateway is and which key to send: arguments, then the environment, then the profile file.

Between a person's configuration and ``connection.Target``. The file is TOML::

    default = "work"

    [profiles.work]
    url = "https://warren.example.org"
    api_key = "wk_…"

It lies in ``~/.config/warren/config.toml`` (``WARREN_CONFIG`` names another one). A file that
holds a key must be readable by its owner only. A key is never sent to another address than the
one it was given with.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from warren.connection import Target
from warren.errors import InvalidConfig

DEFAULT_URL = "http://127.0.0.1:8080"
"""Where ``make up`` puts a gateway."""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A gateway by name."""

    url: str
    api_key: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default: str = ""
    profiles: dict[str, Profile] = {}


def target(
    url: str | None = None,
    api_key: str | None = None,
    profile: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Target:
    """The gateway to speak to. Raises InvalidConfig.

    An address that is given wins over a profile that is named (``profile``, ``WARREN_PROFILE``), that
    over ``WARREN_URL``, and that over the file's default profile.
    """
    given = os.environ if environment is None else environment
    named = profile or ("" if url else given.get("WARREN_PROFILE", ""))
    env_url, env_key = ("", "") if profile else (given.get("WARREN_URL", ""), given.get("WARREN_API_KEY", ""))
    address = url or ("" if named else env_url)
    found = _find(location(given), named) if named or not address else Profile(address)
    address = address or found.url
    if env_url and not _same(address, env_url):
        env_key = ""
    key = api_key if api_key is not None else env_key
    return Target(address, key or (found.api_key if _same(address, found.url) else ""))


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def location(environment: Mapping[str, str]) -> Path:
    """The path of the profile file."""
    if environment.get("WARREN_CONFIG"):
        return Path(environment["WARREN_CONFIG"])
    base = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME") or Path.home()) / ".config")
    return Path(base) / "warren" / "config.toml"


def names(environment: Mapping[str, str] | None = None) -> list[str]:
    """The names of all profiles, for completion; none where the file can't be read."""
    try:
        return sorted(_read(location(os.environ if environment is None else environment)).profiles)
    except InvalidConfig:
        return []


def _find(path: Path, name: str) -> Profile:
    content = _read(path)
    wanted = name or content.default
    if not wanted:
        return Profile(DEFAULT_URL)
    if wanted not in content.profiles:
        known = ", ".join(sorted(content.profiles)) or "none"
        raise InvalidConfig(f"{path} has no profile {wanted}; it has: {known}.")
    return content.profiles[wanted]


def _read(path: Path) -> _File:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = msgspec.convert(tomllib.load(file), _File)
    except FileNotFoundError:
        return _File()
    except OSError as error:
        raise InvalidConfig(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise InvalidConfig(f"{path} is no profile file: {error}.") from None
    if any(profile.api_key for profile in content.profiles.values()) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InvalidConfig(f"{path} holds a key and others may read it; run: chmod 600 {path}")
    return content
