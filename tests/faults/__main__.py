"""``python -m tests.faults chaos|soak …``: every scenario with its full number of trials, or hours of random faults.

Rounds that are done lie in ``var/faults/``; a run that was ended goes on with the rounds that are missing.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

from tests.faults import results, soak
from tests.faults.scenarios import SCENARIOS
from tests.faults.scenarios.playing import ready_stage, run, seed_of
from tests.faults.stage import Stage


def main(arguments: list[str]) -> int:
    """Run a tier; the exit status is 0 when every promise held."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("tier", choices=("chaos", "soak"))
    parser.add_argument("--only", default="", help="scenarios, such as F05 or F01,F02; default: all")
    parser.add_argument("--fresh", action="store_true", help="forget what these scenarios found before")
    parser.add_argument(
        "--minutes", type=float, default=600, help="chaos: begin no round after so many minutes; soak: last so long"
    )
    parser.add_argument("--seed", type=int, default=0, help="soak: the same faults at the same moments again")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    if given.tier == "soak":
        return hours(given.minutes, given.seed or time.time_ns() % 2**32)
    names = [name for name in given.only.split(",") if name] or list(SCENARIOS)
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return chaos(names, fresh=given.fresh, end=time.monotonic() + 60 * given.minutes)


def chaos(names: list[str], *, fresh: bool, end: float) -> int:
    """Play what is missing of the chaos tier's rounds, scenarios on the same kind of stack together."""
    kept = results.Results("chaos")
    if fresh:
        kept.forget(names)
    for kind in dict.fromkeys(SCENARIOS[name].stage for name in names):
        todo = [
            (name, number)
            for name in names
            if SCENARIOS[name].stage == kind
            for number in range(_done(kept, name), SCENARIOS[name].chaos[0])
        ]
        if todo and time.monotonic() < end:
            _play(kind, todo, kept, end)
    show("chaos", kept)
    return int(any(one.defects or one.slow for one in kept.rounds() if one.scenario in names))


def hours(minutes: float, seed: int) -> int:
    """A soak of so many minutes."""
    kept = results.Results("soak")
    done = soak.soak(minutes, seed)
    kept.add(done)
    sys.stdout.write(f"{results.as_text(done)}\n")
    show("soak", kept)
    return int(bool(done.defects or done.slow))


def show(tier: str, kept: results.Results) -> None:
    """Print the scoreboard and put it into the page."""
    described = [(one.name, one.promise, one.target) for one in SCENARIOS.values()]
    described.append(("F37", "Hours with a fault a minute change nothing", "0 lost; growth <= 1 MB/h"))
    board = results.table(kept.rounds(), described, results.read_page(tier))
    sys.stdout.write(f"\n{board}\n")
    results.write_page(tier, board)


def _play(kind: str, todo: list[tuple[str, int]], kept: results.Results, end: float) -> None:
    started: list[Stage] = []

    def stage() -> Stage:
        started[:] = started or [ready_stage(kind)]
        return started[0]

    try:
        for name, number in todo:
            if time.monotonic() > end:
                return
            scenario = SCENARIOS[name]
            done = run(scenario, stage, scenario.chaos[1], seed_of(name, number), kept, number, full=True)
            sys.stdout.write(f"{results.as_text(done)}\n")
            sys.stdout.flush()
            if not started:
                return
    finally:
        for one in started:
            one.remove()


def _done(kept: results.Results, name: str) -> int:
    return sum(one.scenario == name for one in kept.rounds())


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
