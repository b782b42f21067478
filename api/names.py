"""Names that stand in paths and bodies, checked before anything else sees them.

Between a route and the message it sends. The volume has the same rule; checking here answers
422 at once and keeps a strange name out of every queue and log.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from wire import errors

# In Python ``$`` also matches before a final newline; the lookahead forbids that and changes
# nothing in JSON Schema's dialect.
PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$(?!\n)"
"""Names of models and aliases: 1 to 64 of a-z, 0-9, underscore and hyphen, no sign first."""
VERSION_MAX = 2**31 - 1
"""The largest version number; a model gets one per training."""

_pattern = re.compile(PATTERN)
_version = re.compile(r"[1-9][0-9]{0,9}")

Name = Annotated[str, msgspec.Meta(pattern=PATTERN, description="a-z, 0-9, _ and -, at most 64, no sign first")]
"""A name as a field of a body."""
VersionNumber = Annotated[int, msgspec.Meta(ge=1, le=VERSION_MAX, description="a version, from 1")]
"""A version number as a field of a body."""

NAME_RULE = "must be 1 to 64 of a-z, 0-9, _ and -, starting with a letter or a digit"
"""What an error says about a bad name."""
VERSION_RULE = "must be a whole number from 1"
"""What an error says about a bad version."""


def is_name(text: str) -> bool:
    """Whether a text is a legal name."""
    return _pattern.match(text) is not None


def name(text: str, at: str) -> str:
    """The text, if it is a legal name; ``at`` says where it stood. Raises errors.BadInput."""
    if not is_name(text):
        raise errors.BadInput(f"The {at} is not a legal name.", errors=[errors.FieldError(at, NAME_RULE)])
    return text


def version(text: str, at: str = "version") -> int:
    """A version number from a path. Raises errors.BadInput."""
    if _version.fullmatch(text) is None or int(text) > VERSION_MAX:
        raise errors.BadInput("The version is not valid.", errors=[errors.FieldError(at, VERSION_RULE)])
    return int(text)
