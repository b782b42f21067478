"""``python -m loadtests.mixed``: prepare, send, print the scoreboard; exit status 1 unless it is clean."""

from __future__ import annotations

import argparse
import sys

from loadtests.mixed import run


def main(arguments: list[str]) -> int:
    """Run as told; gives the exit status."""
    parser = argparse.ArgumentParser(prog="make mixed", description=run.__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the stack's address")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1, help="another seed is another mix")
    options = parser.parse_args(arguments)
    board = run.mixed(options.url, options.requests, options.connections, options.seed)
    print(board)  # noqa: T201 - the command's output
    return 0 if board.clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
