"""Train the models, compute the truth, send everything at once, and judge every answer.

The whole of a mixed run, for the command line and for the acceptance tests.
"""

from __future__ import annotations

import gc

from loadtests.mixed import cases, client, models
from loadtests.mixed.cases import Target
from loadtests.mixed.judging import Scoreboard
from loadtests.mixed.truth import Truth


def targets(url: str) -> list[Target]:
    """What is asked: every version of every model, trained if missing; the first models most often."""
    found = []
    for rank, table in enumerate(models.TABLES, start=1):
        models.ensure(url, table)
        last = len(table.versions)
        for version in range(1, last + 1):
            references: list[int | str | None] = [version]
            references += ["canary"] if version == 1 else []
            references += ["champion", None, None, None] if version == last else []
            truth = Truth(url, table.name, version)
            found.append(Target(table, truth, tuple(references), (3.0 if version == last else 1.0) / rank))
    return found


def mixed(url: str, requests: int, connections: int, seed: int = 1) -> Scoreboard:
    """Send ``requests`` mixed predictions over ``connections``. Raises TimeoutError and OSError."""
    asked = cases.build(targets(url), requests, seed)
    # Nothing of what was prepared is garbage; walking it again and again would slow the client down.
    gc.collect()
    gc.freeze()
    try:
        return client.send(url, asked, connections)
    finally:
        gc.unfreeze()
