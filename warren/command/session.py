"""What every command has: the client, and where to write what for whom.

Between the command line and a terminal, a pipe or a program. Answers go to standard output, as a
table or as JSON; everything else (progress, hints, errors) goes to standard error.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol

import click
import msgspec

from warren import profiles
from warren.client import Client
from warren.command import bars, exits


@dataclass
class Session:
    """One run of the command: which gateway, and whether a program reads the answers."""

    url: str | None = None
    profile: str | None = None
    as_json: bool = False
    _client: Client | None = None

    @property
    def client(self) -> Client:
        """The client, made when it is first needed. Raises errors.InvalidConfig."""
        if self._client is None:
            self._client = Client(self.url, profile=self.profile)
            if profiles.target(self.url, None, self.profile).in_the_clear:
                self.say("Warning: the key crosses the network unencrypted; use an https address.")
        return self._client

    def close(self) -> None:
        """Close the client, if there is one."""
        if self._client is not None:
            self._client.close()

    def say(self, text: str) -> None:
        """Tell the person something that is no answer."""
        click.echo(text, err=True)

    def show(self, answer: Any, text: Callable[[], str]) -> None:
        """Write an answer: as JSON, or as ``text`` makes it for a person."""
        click.echo(pretty(answer) if self.as_json else text())

    def line(self, answer: Any) -> None:
        """Write one of many answers as a line of JSON."""
        click.echo(msgspec.json.encode(answer))

    @contextlib.contextmanager
    def progress(self, description: str, total: float | None, *, unit: str = "") -> Iterator[Bar]:
        """A progress bar, where a person looks at one; ``unit`` ``bytes`` shows sizes and speed."""
        if self.as_json or not sys.stderr.isatty():
            yield _NoBar()
            return
        with bars.shown(description, total, unit) as bar:
            yield bar


class Bar(Protocol):
    """Something that shows how far it is."""

    def to(self, done: float, description: str = "") -> None:
        """So much is done now; a new ``description`` replaces the old one."""

    def by(self, more: float) -> None:
        """So much more is done now."""


class _NoBar:
    def to(self, done: float, description: str = "") -> None:
        """Nobody looks."""

    def by(self, more: float) -> None:
        """Nobody looks."""


def pretty(answer: Any) -> str:
    """An answer as JSON that people can read too."""
    return msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as their cells; never cut, so that a pipe gets everything."""
    cells = [[*map(str, header)], *([*map(str, row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def command(function: Callable[..., int | None]) -> Callable[..., int]:
    """Options that every command has, read into the session, which becomes the first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")
    @click.option("--url", metavar="URL", help="The gateway's address; else WARREN_URL, the profile, this machine.")
    @click.option("--profile", metavar="NAME", help="A profile of the configuration file.", shell_complete=_profiles)
    @click.pass_obj
    @wraps(function)
    def run(
        session: Session, /, *arguments: Any, as_json: bool, url: str | None, profile: str | None, **named: Any
    ) -> int:
        session.as_json = session.as_json or as_json
        session.url, session.profile = url or session.url, profile or session.profile
        return function(session, *arguments, **named) or exits.OK

    return run


def _profiles(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    return [name for name in profiles.names() if name.startswith(typed)]
