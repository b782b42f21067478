"""The first moment of every supervised process: end what its previous life left, then become it.

Between the supervisor and a program. A process that was killed may leave children of its own
behind, which hold its port (Nginx's and gunicorn's workers) or go on computing for nobody (a
training's child). They carry the marks of the same stack and program.
``python -m deploy.native.launch <command> …`` is the program's command line.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from deploy.native import strays

_POLITE_S = 2.0


def main(command: list[str]) -> NoReturn:
    """Clear the way and become ``command``."""
    strays.end(strays.find(Path(os.environ[strays.MARKER]), os.environ[strays.PROGRAM]), _POLITE_S)
    os.execvp(command[0], command)  # noqa: S606 - the command is the supervisor's configuration


if __name__ == "__main__":
    main(sys.argv[1:])
