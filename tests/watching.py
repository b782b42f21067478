"""An audit hook that notes what a process that loads models or answers calls must never do.

A hook stays for as long as its process lives, so tests arm it in processes of their own.
"""

from __future__ import annotations

import sys

FORBIDDEN = (
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
)
"""Events of the interpreter: a pickle that names something, a program that is started, a way out."""

LOADERS = ("joblib", "cloudpickle", "dill")
"""Libraries that read pickles. scikit-learn imports joblib itself, so it may come with that and only with that."""


def watch(*, loaders: bool) -> list[str]:
    """Note from now on every forbidden event, and with ``loaders`` every import of one; the list grows."""
    noted: list[str] = []

    def note(event: str, given: tuple[object, ...]) -> None:
        if event in FORBIDDEN:
            noted.append(event)
        elif loaders and event == "import" and str(given[0]).split(".")[0] in LOADERS:
            noted.append(f"import {given[0]}")

    sys.addaudithook(note)
    return noted
