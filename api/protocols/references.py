"""A model and its version as the paths of other protocols name them.

Beside the protocols: parts of a path come in, which version is asked for goes out.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from api import names
from api.predict.envelope import CHAMPION
from wire import errors


def part(raw: bytes) -> str:
    """A part of a path, whose client may have quoted it."""
    return unquote_to_bytes(raw).decode("utf-8", "replace")


def model(text: str) -> str:
    """A model's name. Raises errors.ModelNotFound: no model has a name that is not legal."""
    if not names.is_name(text):
        raise errors.ModelNotFound
    return text


def version(text: str | None) -> tuple[int, str]:
    """A version's number, or 0 and an alias; without a text the alias that is served.

    Raises errors.VersionNotFound.
    """
    if text is None:
        return 0, CHAMPION
    if text.isascii() and text.isdecimal() and len(text) <= 10 and 1 <= int(text) <= names.VERSION_MAX:
        return int(text), ""
    if text.isdecimal() or not names.is_name(text):
        raise errors.VersionNotFound
    return 0, text


def number(text: str) -> str:
    """The text, if it is a version's number. Raises errors.VersionNotFound."""
    if not version(text)[0]:
        raise errors.VersionNotFound
    return text


def alias(text: str) -> str:
    """The text, if it is the name of an alias and no number. Raises errors.AliasNotFound."""
    if text.isdecimal() or not names.is_name(text):
        raise errors.AliasNotFound
    return text
