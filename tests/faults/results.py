"""What the runs found: one JSON line per round, the scoreboard made of them, and its place in docs/reliability.md."""

from __future__ import annotations

import functools
import json
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
FOLDER = Path(__file__).parents[2] / "var" / "faults"
"""Where results lie; a run that was ended goes on from there."""

_LESS_IS_WORSE = ("least_", "median_")
"""How the name of a figure begins of which a scoreboard shows the smallest."""


@functools.cache
def commit() -> str:
    """The commit this process found first, with a + where the code was changed since; empty without Git."""
    asked = (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--", ".", ":!*.md"])
    try:
        head, changed = (
            subprocess.run(["git", *one], cwd=PAGE.parents[1], check=True, capture_output=True, text=True, timeout=20)
            for one in asked
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip() + ("+" if changed.stdout else "")


@dataclass
class Round:
    """One round of a scenario. ``trials`` by what was tried (kills, jobs, requests), each with its failures in
    ``failures`` under the same name; ``figures`` are measured beside; ``defects`` is empty when all promises held.
    ``slow`` has what came right but later than it should: that says as much of the machine as of what runs on it.
    ``commit`` is the code it ran on, empty where nobody wrote it down.
    """

    scenario: str
    seed: int = 0
    trials: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    defects: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    seconds: float = 0.0
    at: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M", time.gmtime()))
    commit: str = field(default_factory=commit)

    def count(self, what: str, trials: int, failures: int = 0) -> None:
        self.trials[what] = self.trials.get(what, 0) + trials
        self.failures[what] = self.failures.get(what, 0) + failures

    def blame(self) -> None:
        """With a defect each kind of trial has one failure at least: no bound stands as if nothing had failed."""
        if self.defects:
            self.failures = {what: max(1, self.failures.get(what, 0)) for what in self.trials}


def upper_bound(trials: int, failures: int) -> float:
    """The 95 % upper bound of a failure's probability: the rule of three, for failures the usual normal bound."""
    if trials == 0:
        return 1.0
    if failures == 0:
        return min(1.0, 3 / trials)
    share = failures / trials
    return min(1.0, share + 1.645 * (share * (1 - share) / trials) ** 0.5 + 3 / trials)


class Results:
    """The rounds of one tier, kept in a file of JSON lines."""

    def __init__(self, tier: str, folder: Path = FOLDER) -> None:
        self.file = folder / f"{tier}.jsonl"

    def rounds(self) -> list[Round]:
        if not self.file.exists():
            return []
        return [
            Round(**{"commit": "", **json.loads(line)}) for line in self.file.read_text().splitlines() if line.strip()
        ]

    def add(self, done: Round) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as file:
            file.write(json.dumps(asdict(done)) + "\n")

    def forget(self, scenarios: Iterable[str]) -> None:
        """Drop the rounds of these scenarios: they are run anew."""
        gone = {*scenarios}
        kept = [one for one in self.rounds() if one.scenario not in gone]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("".join(json.dumps(asdict(one)) + "\n" for one in kept))


def table(rounds: Sequence[Round], described: Sequence[tuple[str, str, str]], before: str = "") -> str:
    """The scoreboard in Markdown; ``described`` has id, promise and target of each scenario, in order.

    A scenario without a round keeps its row of the scoreboard ``before``, which says when it was.
    """
    rows = {line.split("|")[1].strip(): line for line in before.splitlines() if line.startswith("| ")}
    lines = [
        "| test | promise | trials | result | 95 % upper bound | measured | when |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, promise, target in described:
        own = [one for one in rounds if one.scenario == name]
        if own:
            lines.append(_row(name, promise, target, own))
        elif name in rows:
            lines.append(rows[name])
    return "\n".join(lines)


def _row(name: str, promise: str, target: str, own: Sequence[Round]) -> str:
    trials: dict[str, int] = {}
    failures: dict[str, int] = {}
    for one in own:
        for what, count in one.trials.items():
            trials[what] = trials.get(what, 0) + count
            failures[what] = failures.get(what, 0) + one.failures.get(what, 0)
    defects = [defect for one in own for defect in one.defects]
    slow = [text for one in own for text in one.slow]
    verdict = (
        f"**failed**: {_plain(defects[0])}" if defects else f"held, but slow: {_plain(slow[0])}" if slow else "held"
    )
    tried = ", ".join(f"{count:,} {what}" for what, count in trials.items())
    result = ", ".join(f"{failures[what]:,} {what}" for what in trials)
    bounds = ", ".join(f"{upper_bound(trials[what], failures[what]):.2%} of {what}" for what in trials)
    measured = ", ".join(f"{what} {value:g}" for what, value in _worst(own).items())
    return (
        f"| {name} | {promise} (target: {target}) | {tried} | {verdict}; failed: {result} | {bounds} "
        f"| {measured or '-'} | {', '.join((own[-1].at, *dict.fromkeys(one.commit for one in own if one.commit)))} |"
    )


def _worst(own: Sequence[Round]) -> dict[str, float]:
    worst: dict[str, float] = {}
    for one in own:
        for what, value in one.figures.items():
            of_both = min if what.startswith(_LESS_IS_WORSE) else max
            worst[what] = of_both(worst.get(what, value), value)
    return worst


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:200]


def write_page(tier: str, text: str, page: Path = PAGE) -> None:
    """Put a tier's scoreboard between its marks in the page. Raises ValueError when they are missing."""
    begin, end = f"<!-- {tier}: generated -->", f"<!-- {tier}: end -->"
    content = page.read_text()
    if content.count(begin) != 1 or content.count(end) != 1:
        raise ValueError(f"{page.name} has no place for {tier}")
    head, tail = content.partition(begin)[0], content.partition(end)[2]
    page.write_text(f"{head}{begin}\n{text}\n{end}{tail}")


def read_page(tier: str, page: Path = PAGE) -> str:
    """A tier's scoreboard as the page has it."""
    return page.read_text().partition(f"<!-- {tier}: generated -->")[2].partition(f"<!-- {tier}: end -->")[0].strip()


def as_text(one: Round) -> str:
    """One line for the person who waits."""
    tried = ", ".join(f"{count:,} {what} ({one.failures.get(what, 0)} failed)" for what, count in one.trials.items())
    measured = ", ".join(f"{what} {value:g}" for what, value in one.figures.items())
    verdict = "FAILED: " + "; ".join(one.defects) if one.defects else "held"
    if one.slow:
        verdict += "; slow: " + "; ".join(one.slow)
    return f"{one.scenario} seed {one.seed}: {tried}; {measured}; {one.seconds:.0f} s; {verdict}"
