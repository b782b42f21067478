"""Names on the model volume: what may become part of a path, and how versions are spelled.

Every public function of the package checks its names here before a path is built from them,
so no input reaches the file system as anything but a plain name.
"""

from __future__ import annotations

import re

from model_store import errors

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FILE = re.compile(r"[a-z][a-z0-9_]{0,31}(\.[a-z0-9]{1,8}){1,2}")
_VERSION_FOLDER = re.compile(r"v([0-9]{8})")

MAX_VERSION = 99_999_999
"""The last version a folder name of eight digits can spell."""

CHAMPION = "champion"
"""The alias that is served when no version is named."""

MANIFEST = "manifest.json"
"""The signed list of everything in a version folder."""
SIGNATURE = "manifest.sig"
"""The signature over the bytes of the manifest."""
DELETED = "deleted"
"""The marker that keeps a deleted version's number taken."""


def check_model(name: str) -> str:
    """The model name itself. Raises errors.BadName unless ``^[a-z0-9][a-z0-9_-]{0,63}$``."""
    return _checked(_NAME, name, "a model name is 1 to 64 of a-z, 0-9, _ and -, and starts with a letter or digit")


def check_alias(name: str) -> str:
    """The alias name itself. Raises errors.BadName unless it has the form of a model name."""
    return _checked(_NAME, name, "an alias is 1 to 64 of a-z, 0-9, _ and -, and starts with a letter or digit")


def check_job(job_id: str) -> str:
    """The job id itself. Raises errors.BadName unless 1 to 64 letters, digits, ``_`` and ``-``."""
    return _checked(_JOB, job_id, "a job id is 1 to 64 letters, digits, _ and -")


def check_file(name: str) -> str:
    """The artefact file's name itself. Raises errors.BadName for anything like a path."""
    return _checked(_FILE, name, "a file name is a plain lower-case name with an extension")


def check_version(version: int) -> int:
    """The version itself. Raises errors.BadName unless it is an integer from 1 to MAX_VERSION."""
    if type(version) is not int or not 1 <= version <= MAX_VERSION:
        raise errors.BadName(f"a version is an integer from 1 to {MAX_VERSION}")
    return version


def version_folder(version: int) -> str:
    """The folder of a version: 12 lives in ``v00000012``. Raises errors.BadName."""
    return f"v{check_version(version):08d}"


def version_number(folder: str) -> int | None:
    """The version a folder name spells, or None. Numbers compare as integers, names never do."""
    match = _VERSION_FOLDER.fullmatch(folder)
    return (int(match[1]) or None) if match else None


def _checked(pattern: re.Pattern[str], name: str, rule: str) -> str:
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise errors.BadName(rule)
    return name
