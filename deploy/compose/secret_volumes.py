"""Makes every secret of the stack at its first start: the one-shot service ``secrets``.

In come empty volumes under one folder, a volume per service; out go the files that each service
finds in its own, and in no other: ``broker.password`` and ``ledger.password``, the Ed25519 pair
that signs models, the broker's definitions, the database administrator's password. A later start
leaves what is there and makes what is missing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deploy import secret_files
from model_store import signing
from wire import topology

FOLDER = Path("/secrets")
"""Where the volumes are mounted, by the service's name."""

DEFINITIONS = Path("rabbitmq", "definitions.json")
"""Where the broker finds its own, under that folder."""

_FOR_ANOTHER_USER = 0o644
"""Broker and database run as users of their own; only they mount these volumes."""


def fill(folder: Path) -> None:
    """Make what is missing under ``folder``, which has a subfolder per service."""
    passwords = {role: secret_files.password(folder / role / "broker.password") for role in topology.ROLES}
    secret_files.write_definitions(folder / DEFINITIONS, passwords, _FOR_ANOTHER_USER)
    _private, public = signing.generate_keys(folder / "trainer")
    _copy(public, folder / "predictor" / public.name)
    ledger = folder / "postgres" / "ledger.password"
    secret_files.password(ledger)
    for role in ("api", "worker"):
        _copy(ledger, folder / role / ledger.name)
    administrator = folder / "postgres" / "administrator.password"
    secret_files.password(administrator)
    for file in (ledger, administrator):
        file.chmod(_FOR_ANOTHER_USER)


def _copy(source: Path, target: Path) -> None:
    text = source.read_text()
    if not target.exists() or target.read_text() != text:
        secret_files.write(target, text)


def main() -> int:
    """The one-shot service. Says when the definitions were last written: a broker reads them when it starts."""
    fill(FOLDER)
    definitions = FOLDER / DEFINITIONS
    sys.stdout.write(f"{definitions.name} {int(definitions.stat().st_mtime)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
