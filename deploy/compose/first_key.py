"""The first admin key: made once by the one-shot service ``provision``, shown once by ``first-key``.

Between a ledger without keys, from which no call could make one, and the person who runs the
stack. The key waits in a volume that no running service mounts, until it is shown.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploy import secret_files

FILE = Path("/secrets/admin/first.key")
"""Holds the key until it is shown; afterwards it is empty, and says that there was one."""

CREATE = (sys.executable, "-m", "api.keys", "create", "--owner", "admin", "--scope", "admin")
"""Makes a key on the ledger itself."""

_CREATE_S = 60


def make(file: Path) -> None:
    """Make the key unless it was made before. Raises CalledProcessError with what the command said."""
    if not file.exists():
        made = subprocess.run(CREATE, capture_output=True, text=True, timeout=_CREATE_S, check=True)
        secret_files.write(file, made.stdout.strip())


def show(file: Path) -> str:
    """The key, and nothing of it is left; empty when it was shown before or was not made yet."""
    key = file.read_text() if file.exists() else ""
    if key:
        secret_files.write(file, "")
    return key


def main(command: str) -> int:
    """``make`` or ``show``."""
    if command == "make":
        try:
            make(FILE)
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"The first key could not be made: {error.stderr}\n")
            return 1
        return 0
    key = show(FILE)
    if not key:
        sys.stderr.write(
            "The first key was shown before. Make another one with\n"
            "  docker compose exec api python -m api.keys create --owner NAME --scope admin\n"
        )
        return 1
    sys.stdout.write(f"{key}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
