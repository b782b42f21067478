"""``python -m api.keys``: make, list and revoke API keys on the ledger itself.

For the first admin key, which no call can make, and for whoever has lost the last one: access to
the ledger is the right to do this. Beside the running gateway; replicas see the change within
seconds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from api import names
from api.keys import making
from api.keys.callers import OPERATOR
from api.ledger import Ledger, rows
from api.ledger.database import now_ms
from api.times import iso
from wire import errors, logs, settings

_PAGE = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    config = settings.load()
    chosen = _parser(config.keys).parse_args(arguments)
    logs.configure("keys", "WARNING")
    ledger = Ledger(config.ledger)
    try:
        ledger.migrate()
        lines = _COMMANDS[chosen.command](ledger, chosen)
    except errors.WarrenError as error:
        sys.stderr.write(f"{error.message} {error.hint}".rstrip() + "\n")
        return 1
    finally:
        ledger.close()
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _parser(config: settings.Keys) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api.keys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key and show it, once")
    create.add_argument("--owner", required=True, help="whose key it is: " + names.NAME_RULE.removeprefix("must be "))
    create.add_argument("--scope", required=True, action="append", help="predict, train or admin; may be repeated")
    create.add_argument("--days", type=int, default=config.days, help="how long it lives (default %(default)s)")
    create.add_argument(
        "--rate",
        type=_rate,
        default=config.rate_per_s,
        help="calls a second it may make, or none for any number (default %(default)s)",
    )
    commands.add_parser("list", help="one line per key: prefix, owner, scopes, rate, end, state")
    revoke = commands.add_parser("revoke", help="end a key")
    revoke.add_argument("prefix", help="as `list` shows it")
    return parser


def _rate(text: str) -> float | None:
    return None if text == "none" else float(text)


def _create(ledger: Ledger, chosen: argparse.Namespace) -> list[str]:
    owner = names.name(chosen.owner, "owner")
    if not 1 <= chosen.days <= making.MAX_DAYS:
        raise errors.BadInput(f"A key lives 1 to {making.MAX_DAYS} days.")
    wanted = making.Wanted(owner, making.split(chosen.scope), chosen.days, chosen.rate)
    _, text = making.create(ledger, wanted, OPERATOR)
    return [text]


def _list(ledger: Ledger, _chosen: argparse.Namespace) -> list[str]:
    found: list[rows.Key] = []
    while page := ledger.keys.page(before=found[-1].number if found else None, limit=_PAGE):
        found += page
    at_ms = now_ms()
    return [_line(key, at_ms) for key in found]


def _line(key: rows.Key, at_ms: int) -> str:
    rate = "unlimited" if key.rate_per_s is None else f"{key.rate_per_s:g}/s"
    scopes = key.scopes.replace(" ", ",")
    return f"{key.prefix}  {key.owner:<20}  {scopes:<19}  {rate:<9}  {iso(key.expires_ms)}  {key.state(at_ms)}"


def _revoke(ledger: Ledger, chosen: argparse.Namespace) -> list[str]:
    revoked = making.revoke(ledger, chosen.prefix, OPERATOR)
    return [f"{chosen.prefix} is revoked." if revoked else f"{chosen.prefix} was revoked before."]


_COMMANDS = {"create": _create, "list": _list, "revoke": _revoke}


if __name__ == "__main__":
    sys.exit(main())
