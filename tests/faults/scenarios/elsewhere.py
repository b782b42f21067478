"""F25, S02: names that lead elsewhere, beside others that must not notice; no file comes of them."""

from __future__ import annotations

import contextlib
import json
import re

from tests.acceptance.stack import Client
from tests.faults import hostile_names
from tests.faults.raw import Answer, Line
from tests.faults.scenarios.clients import note, unharmed
from tests.faults.scenarios.playing import Play, Scenario
from tests.faults.tree import around, changes, tree
from tests.rabbit import wait_until

_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def names(play: Play) -> None:
    """F25 and S02: names and paths that lead elsewhere, in every place that takes one; no file comes of it."""
    corpus = list(dict.fromkeys(hostile_names.names(play.rng)))
    before, outside = tree(play.stage), around(play.stage, corpus)
    with unharmed(play):
        answers, accepted = _send(play, play.rng.sample(corpus, min(play.trials, len(corpus))))
    note(play, "hostile names", answers)
    play.round.figures["accepted"] = len(accepted)
    with Client(play.stage.url) as client:
        for job_id in accepted.values():
            client.finished(job_id, 60)
    allowed = [f"models/{name}" for name in accepted]

    def left() -> list[str]:
        return changes(before, tree(play.stage), allowed)

    # What a process writes and removes by itself may be there for a moment.
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not left(), "nothing is left", 10)
    play.round.defects += [f"nobody asked for it: {one}" for one in left()[:5]]
    play.round.defects += [f"outside: {one}" for one in changes(outside, around(play.stage, corpus), ())[:5]]


def _send(play: Play, corpus: list[str]) -> tuple[list[tuple[str, Answer]], dict[str, str]]:
    """What had to be refused, and the job of each name that a model may have."""
    line = Line(play.stage.url)
    answers: list[tuple[str, Answer]] = []
    accepted: dict[str, str] = {}
    for name in corpus:
        for place, content in hostile_names.with_name(name):
            answer = line.ask(content)
            if not _SANE_ID.fullmatch(answer.headers.get("x-request-id", "")):
                play.defect(f"{place} {name!r} is answered under {answer.headers.get('x-request-id')!r}")
            if (
                hostile_names.ALLOWED.fullmatch(name)
                and place == f"POST {hostile_names.TRAIN}"
                and answer.status == 202
            ):
                accepted[name] = json.loads(answer.body)["job_id"]
            else:
                answers.append((f"{place} {name!r}", answer))
    line.close()
    return answers, accepted


SCENARIOS = (
    Scenario(
        "F25",
        "No name leads elsewhere",
        "0 files, 100 % 4xx",
        names,
        faults=(1, 60),
        chaos=(1, 1_000),
        stage="plain",
    ),
)
