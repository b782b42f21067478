"""Generates ``docs/settings.md`` from the settings tree.

In: wire.settings, with the text under each field. Out: the page that people read.
``python -m wire.settings_page`` writes it; with ``--check`` it only says, by its exit status,
whether the page is up to date, which ``make check`` asks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wire.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
"""Where the page lies."""

_HEAD = """# Settings

Generated from `wire/settings.py` by `make docs`; do not edit.

Every process reads the same tree from its environment: the field `deadline_ms` of the section
`predict` is the variable `WARREN_PREDICT__DEADLINE_MS`. A value that is not allowed, or an unknown
name in a section, stops the process at its start. `make up` passes the `WARREN_…__…` variables of
its own environment on to every process, and restarts those that it changes; addresses, ports,
passwords and keys are its own business.
"""


def render() -> str:
    """The whole page."""
    parts = [_HEAD]
    parts += [_section(name, type(info.default)) for name, info in Settings.model_fields.items()]
    return "\n".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with ``--check`` compare: 0 when it is up to date, 1 when it is stale."""
    if "--check" not in arguments:
        PAGE.write_text(render())
        return 0
    if PAGE.exists() and PAGE.read_text() == render():
        return 0
    sys.stderr.write("docs/settings.md is stale: run `make docs`.\n")
    return 1


def _section(name: str, section: type[BaseModel]) -> str:
    lines = [f"## {name}", "", (section.__doc__ or "").strip(), ""]
    lines += ["| variable | default | allowed | meaning |", "|---|---|---|---|"]
    for field, info in section.model_fields.items():
        variable = f"WARREN_{name.upper()}__{field.upper()}"
        lines.append(f"| `{variable}` | {_default(info)} | {_allowed(info)} | {_meaning(info)} |")
    return "\n".join([*lines, ""])


def _default(info: FieldInfo) -> str:
    value: Any = info.default
    return "" if value is None else f"`{value}`"


def _allowed(info: FieldInfo) -> str:
    """The field's type and bounds, in words."""
    if get_origin(info.annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(info.annotation))
    kind = getattr(info.annotation, "__name__", str(info.annotation)).removesuffix(" | None")
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(rule, name)}"
        for rule in info.metadata
        for name, sign in signs.items()
        if getattr(rule, name, None) is not None
    ]
    words = {"str": "text", "int": "whole number", "float": "number", "Path": "path", "bool": "true or false"}
    return ", ".join([words.get(kind, "path" if "Path" in str(info.annotation) else kind), *bounds])


def _meaning(info: FieldInfo) -> str:
    return " ".join((info.description or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
