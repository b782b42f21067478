"""F28: replicas beside predictors that know only the first schema of the frames, on the way to new ones and back."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import httpx

from tests.faults import oracle, woven
from tests.faults.account import Account
from tests.faults.load import LATE_S, Load
from tests.faults.scenarios.playing import Play, Scenario
from tests.faults.stage import Stage
from wire import topology

_RATE = 150.0
_PREDICTORS = ("predictor-1", "predictor-2")
_PAUSE_S = 0.05
_SETTLED_S = 2.0


def older_and_newer(play: Play) -> None:
    """Predictors become older and new again, one at a time: rows are always answered, tensors where they are known."""
    stage, account = play.stage, Account(play.stage)
    refused = asked = 0
    copies = _second_copies(play)
    with Load(stage.url, _RATE) as load:
        for _ in range(play.trials):
            for _ in range(3):
                account.submit()
            phases = _there_and_back(stage)
            play.round.defects += [text for phase in phases for text in phase.defects[:3]]
            for text in (text for phase in phases for text in phase.late[:3]):
                play.slow(text)
            _, before, _, after = phases
            if before.answered or not before.refused:
                play.defect(f"older predictors answered {before.answered} and refused {before.refused} calls")
            if after.refused or not after.answered:
                play.defect(f"new predictors answered {after.answered} and refused {after.refused} calls")
            asked += sum(phase.asked for phase in phases)
            refused += sum(phase.refused for phase in phases)
    play.judge(load)
    dead = stage.queues()[topology.DEAD]
    play.round.defects += dead_letter_defects(dead, refused, _second_copies(play) - copies)
    play.round.defects += account.settle(dead_letters=dead).defects()
    stage.ctl("purge_queue", "-p", "warren", topology.DEAD)
    play.round.count("changes to older predictors and back", play.trials)
    play.round.count("calls with tensors", asked)
    play.round.figures["dead_letters"] = dead
    play.round.figures["calls_refused"] = refused
    play.round.figures["refused_share"] = round(refused / max(asked, 1), 3)


def _there_and_back(stage: Stage) -> list[Tensors]:
    """Calls while predictors become older, while both are, while they become new again, and afterwards.

    One after the other: of two at once both calls may travel in one message, which has one dead letter.
    """
    older = stage.points / woven.OLDER
    phases: list[Tensors] = []
    for change in (older.touch, older.unlink):
        with Tensors(stage.url) as changing:
            change()
            for name in _PREDICTORS:
                stage.restart(name)
        with Tensors(stage.url) as settled:
            time.sleep(_SETTLED_S)
        phases += changing, settled
    return phases


def dead_letter_defects(dead: int, refused: int, second_copies: int) -> list[str]:
    """What a predictor cannot read goes to the dead letters, for a person to look at.

    Whoever was refused has one there; another copy of his call may have made another.
    """
    if refused <= dead <= refused + second_copies:
        return []
    return [f"{refused} calls were refused, {second_copies} sent again, and there are {dead} dead letters"]


def _second_copies(play: Play) -> int:
    return int(sum(play.stage.metric(name, "warren_predict_hedges_total") for name in ("api-1", "api-2")))


@dataclass
class Tensors:
    """Asks with tensors, which travel in the second schema, while the block lasts; each answer right or a clear 503."""

    url: str
    asked: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    defects: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def __enter__(self) -> Tensors:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tensors", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        if self.asked != self.answered + self.refused + self.failed:
            self.defects.append(f"tensors: {self.asked} asked, {self.answered} answered, {self.refused} refused")

    def _run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=20, trust_env=False) as client:
            while not self._over.wait(_PAUSE_S):
                self.asked += 1
                began = time.monotonic()
                try:
                    self._judge(self.asked, self._ask(client, self.asked))
                except Exception as error:
                    self.failed += 1
                    self.defects.append(f"tensors: {type(error).__name__}: {error}")
                if time.monotonic() - began > LATE_S:
                    self.late.append(f"tensors: an answer took {time.monotonic() - began:.1f} s")

    @staticmethod
    def _ask(client: httpx.Client, x: int) -> httpx.Response:
        tensor = {"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [x]}
        asked = {"id": f"tensors-{x}", "inputs": [tensor]}
        return client.post(f"/v2/models/{oracle.MODEL}/infer", json=asked)

    def _judge(self, x: int, answer: httpx.Response) -> None:
        if answer.status_code == 503 and "older version" in answer.text and "retry-after" in answer.headers:
            self.refused += 1
            return
        self.answered += 1
        if answer.status_code == 200:
            told, version = answer.json(), oracle.VERSIONS[-1]
            near = abs(told["outputs"][0]["data"][0] - x - version * oracle.STEP) <= oracle.TOLERANCE
            if near and (told["id"], told["model_version"]) == (f"tensors-{x}", str(version)):
                return
        self.defects.append(f"tensors: {answer.status_code} {answer.text[:160]}")


SCENARIOS = (
    Scenario(
        "F28",
        "Older predictors beside new replicas answer every row, and refuse clearly what they cannot read",
        "0 failed of /predict; 503 for tensors until they are new",
        older_and_newer,
        faults=(1, 1),
        chaos=(2, 5),
    ),
)
