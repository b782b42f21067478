"""``warren keys``: make, list and revoke API keys.

Between the command line and the calls under /keys, which are an admin's.
"""

from __future__ import annotations

import math
from typing import Any

import click

from warren import admin
from warren.command.session import Session, command, table


@click.group()
def keys() -> None:
    """Make, list and revoke API keys; needs an admin's key where keys are needed."""


@keys.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@command
def list_keys(session: Session, limit: int) -> None:
    """List the newest keys by their public prefix."""
    page = session.client.keys(limit)
    session.show(
        page,
        lambda: table(
            ("PREFIX", "OWNER", "SCOPES", "RATE", "STATE", "ENDS"),
            [(key.prefix, key.owner, " ".join(key.scopes), _rate(key), key.state, key.expires_at) for key in page.keys],
        ),
    )


def _rate(key: admin.Key) -> str:
    return "any" if key.rate_per_s is None else f"{key.rate_per_s:g}/s"


class _Rate(click.FloatRange):
    """Calls a second; ``none`` is any number of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if value == "none":
            return math.inf
        rate_per_s = float(super().convert(value, param, ctx))
        if math.isnan(rate_per_s):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return rate_per_s


@keys.command()
@click.argument("owner")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["predict", "train", "admin"]),
    multiple=True,
    required=True,
    help="What the key may do; may be given more than once.",
)
@click.option("--days", type=click.IntRange(1, 3650), help="Days until it ends; else what the gateway's setting says.")
@click.option(
    "--rate",
    "rate_per_s",
    type=_Rate(0, 100_000, min_open=True),
    help="Calls a second it may make, none: any number; else what the gateway's setting says.",
)
@command
def create(session: Session, owner: str, scopes: tuple[str, ...], days: int | None, rate_per_s: float | None) -> None:
    """Make a key for OWNER and print it, this once."""
    made = session.client.create_key(owner, scopes, days, rate_per_s)
    if not session.as_json:
        session.say(f"For {owner}, until {made.expires_at}. Nobody can show it again:")
    session.show(made, lambda: made.key)


@keys.command()
@click.argument("prefix")
@command
def revoke(session: Session, prefix: str) -> None:
    """End the key with this PREFIX, everywhere within seconds."""
    session.client.revoke_key(prefix)
    session.show({"prefix": prefix, "revoked": True}, lambda: f"{prefix} is revoked.")
