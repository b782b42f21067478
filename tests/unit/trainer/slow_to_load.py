"""A module of forks that takes longer to load than any test lasts."""

from __future__ import annotations

import time

PRELOADED = ()

time.sleep(300)


def main(_arguments: list[str]) -> int:
    return 0
