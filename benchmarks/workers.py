"""``python -m benchmarks.workers``: 1, 2 and 4 workers of Nginx, 1 and 2 schedulers of the broker, by turns.

One stack of its own, changed while it runs (Nginx is reloaded, Erlang told), so that all turns meet the same processes
behind. How many replicas and predictors is ``make capacity``'s question: a replica is one gunicorn worker.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from benchmarks import measuring, protocols, stack
from deploy.native.layout import Layout

CONNECTIONS = (1, 16, 64, 256)
PAGE = Path(__file__).parent / "results" / "workers.md"
_NEW_WORKERS_S = 30.0
_RABBITMQCTL = (sys.executable, "-m", "deploy.native", "rabbitmqctl")

Found = dict[tuple[str, int, int], list[float]]
"""Requests a second of each round, by what was set, to how many, and at how many connections."""


def nginx_workers(layout: Layout, count: int) -> None:
    """Have Nginx reloaded with so many workers; back when they have taken over. Raises TimeoutError."""
    layout.nginx_config.write_text(
        re.sub(r"^worker_processes \d+;", f"worker_processes {count};", layout.nginx_config.read_text(), flags=re.M)
    )
    master = psutil.Process(int((layout.run / "nginx.pid").read_text()))
    before = {child.pid for child in master.children()}
    master.send_signal(signal.SIGHUP)
    end = time.monotonic() + _NEW_WORKERS_S
    while True:
        now = {child.pid for child in master.children()}
        if len(now) == count and not now & before:
            return
        if time.monotonic() > end:
            raise TimeoutError(f"Nginx has {len(now)} workers instead of {count} new ones")
        time.sleep(0.05)


def schedulers(home: Path, count: int) -> None:
    """Have the broker run on so many schedulers from now on. Raises CalledProcessError."""
    subprocess.run(
        [*_RABBITMQCTL, "eval", f"erlang:system_flag(schedulers_online, {count})."],
        env=os.environ | {"WARREN_HOME": str(home), "WARREN_PORT": str(stack.PORT)},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )


def measure(home: Path, rounds: int, seconds: int) -> Found:
    """All turns on a running stack that has the model."""
    layout, found = stack.layout(home), Found()
    cores = os.cpu_count() or 1
    settings: list[tuple[str, Callable[[int], None], tuple[int, ...], int]] = [
        ("Nginx workers", lambda count: nginx_workers(layout, count), (1, 2, 4), min(2, cores)),
        ("Erlang schedulers", lambda count: schedulers(home, count), tuple(sorted({1, min(2, cores)})), min(4, cores)),
    ]
    body, _ = protocols.WAYS[0].body(1)
    for name, change, counts, usual in settings:
        for _ in range(rounds):
            for count in counts:
                change(count)
                for connections in CONNECTIONS:
                    load = measuring.closed_loop(
                        f"http://127.0.0.1:{stack.PORT}/predict", [body], home / "body", connections, seconds
                    )
                    found.setdefault((name, count, connections), []).append(load.requests_per_s)
        change(usual)
    return found


def table(found: Found) -> str:
    """The page: medians of the rounds, with the rounds beside them."""
    lines = [
        "# How many workers",
        "",
        f"`make workers-bench` on {os.cpu_count()} cores that make the load too: one stack (2 replicas, 2 predictors),",
        "one row of a logistic regression, by turns; requests a second, medians of the rounds (in brackets).",
        "",
        f"| | | {' | '.join(f'{count} connections' for count in CONNECTIONS)} |",
        f"|---|---|{'---|' * len(CONNECTIONS)}",
    ]
    for name, count in dict.fromkeys((name, count) for name, count, _ in found):
        cells = [_cell(found[name, count, connections]) for connections in CONNECTIONS]
        lines.append(f"| {name} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(rates: Sequence[float]) -> str:
    return f"{statistics.median(rates):,.0f} ({', '.join(f'{rate:,.0f}' for rate in rates)})"


def main(arguments: Sequence[str]) -> int:
    """Run as told, and write the page."""
    parser = argparse.ArgumentParser(prog="make workers-bench", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("var/workers-bench"), help="where its stack lives")
    parser.add_argument("--seconds", type=int, default=2, help="how long each turn lasts")
    parser.add_argument("--rounds", type=int, default=3, help="how often each has its turn")
    options = parser.parse_args(arguments)
    home = options.home.absolute()
    with stack.started(home, plain_broker=False):
        protocols.train()
        found = measure(home, options.rounds, options.seconds)
    text = table(found)
    sys.stdout.write(text)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
