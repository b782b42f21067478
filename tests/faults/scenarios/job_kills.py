"""F01, F02, F03, F36: api, worker and trainer die while jobs are on their way, at failpoints and at random moments."""

from __future__ import annotations

import time

import httpx

from model_store import errors as store
from model_store import reading
from model_store.signing import Verifier
from tests.acceptance.stack import ENDED
from tests.faults.account import Account
from tests.faults.points import TRAIN
from tests.faults.scenarios.playing import Play, Scenario, Watching
from tests.faults.stage import Stage
from tests.rabbit import wait_until

_IN_FLIGHT = 3
"""Jobs asked for with every kill of one kind of process."""
_MID_FIT = "trainer.mid_fit"
_RANDOM_EVERY = 4
"""Every so many kills one at a random moment, of a training with a real fit."""


def kill_role(play: Play, role: str) -> None:
    """Kill ``trials`` times with jobs on their way; account for every one of them."""
    stage, account = play.stage, Account(play.stage)
    points = [name for name in TRAIN if name.startswith(f"{role}.")]
    play.rng.shuffle(points)
    victims = [name for name in stage.processes() if name.rstrip("-12") == role]
    reader, poller = VersionReader(stage), JobPoller(stage, account)
    fault_ends = []
    with Watching(reader.look) as reading_, Watching(poller.look) as polling:
        for trial in range(play.trials):
            if trial % _RANDOM_EVERY == _RANDOM_EVERY - 1:
                _random_kill(play, account, play.rng.choice(victims))
            else:
                _kill_at(play, account, points[trial % len(points)])
            stage.wait_ready(*victims)
            fault_ends.append(time.time())
        outcome = account.settle()
    play.judge_jobs(account, outcome, fault_ends)
    play.round.defects += [*reading_.found[:5], *polling.found[:5]]
    play.round.count("kills", play.trials)
    play.round.count("reads of versions", reader.reads, len(reading_.found))
    play.round.count("polls", poller.polls, len(polling.found))
    if not (reader.reads and poller.polls):
        play.defect(f"only {reader.reads} versions were read, and {poller.polls} jobs asked for")
    play.round.figures["slowest_202_s"] = round(max(account.seconds_to_202, default=0), 2)


def _kill_at(play: Play, account: Account, point: str) -> None:
    stage = play.stage
    stage.arm(point)
    for number in range(_IN_FLIGHT):
        # Of a fit that takes no time the trainer may hear of nothing but its end.
        account.submit(real=point == _MID_FIT and number == 0)
    try:
        wait_until(lambda: stage.fired(point), f"{point} is reached", 45)
    finally:
        stage.disarm(point)


def _random_kill(play: Play, account: Account, victim: str) -> None:
    for number in range(_IN_FLIGHT):
        account.submit(real=number == 0)
    play.pause(3.0)
    play.stage.kill(victim)
    wait_until(lambda: not play.stage.ready_itself(victim), f"{victim} is gone", 10)


class VersionReader:
    """Reads every version as it appears, as a predictor would; one that does not verify was half made."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._sound: set[tuple[str, int]] = set()
        self.reads = 0

    def look(self) -> list[str]:
        volume = self._stage.volume
        verifier = Verifier(self._stage.layout.secrets / "signing.pub")
        bad = []
        for model in volume.folders():
            for version in volume.versions(model):
                if (model, version) in self._sound:
                    continue
                self.reads += 1
                try:
                    reading.read(volume, model, version, verifier, 10**9, skip=())
                    self._sound.add((model, version))
                except store.NoSuchVersion:
                    continue  # retired: the job's other delivery was first
                except store.StoreError as error:
                    bad.append(f"{model} {version} could be seen and not read: {error}")
        return bad


class JobPoller:
    """Asks every replica for the newest jobs: an end stays the same end, and an unknown id is unknown to all."""

    def __init__(self, stage: Stage, account: Account) -> None:
        self._stage = stage
        self._account = account
        self._ends: dict[str, str] = {}
        self._clients = [httpx.Client(base_url=url, timeout=5, trust_env=False) for url in stage.replicas]
        self.polls = 0

    def look(self) -> list[str]:
        bad = []
        jobs = list(self._account.accepted.values())
        # The newest may change; of those that have ended, a few each time.
        asked = [*jobs[-4:], *jobs[self.polls % 7 :: 29][:4], "0" * 32]
        for client in self._clients:
            for job_id in asked:
                bad += self._ask(client, job_id)
        return bad

    def _ask(self, client: httpx.Client, job_id: str) -> list[str]:
        try:
            answer = client.get(f"/jobs/{job_id}")
        except httpx.HTTPError:
            return []  # this replica is down
        self.polls += 1
        if job_id == "0" * 32:
            return [] if answer.status_code in (404, 503) else [f"unknown job: {answer.status_code}"]
        if answer.status_code == 503:
            return []
        if answer.status_code != 200:
            return [f"{job_id}: {answer.status_code} after it was accepted"]
        status = answer.json()["status"]
        before = self._ends.get(job_id)
        if status in ENDED:
            self._ends.setdefault(job_id, status)
        return [f"{job_id} was {before} and is {status}"] if before not in (None, status) else []


def kill_api(play: Play) -> None:
    """F01 and F36."""
    kill_role(play, "api")


def kill_worker(play: Play) -> None:
    """F02."""
    kill_role(play, "worker")


def kill_trainer(play: Play) -> None:
    """F03."""
    kill_role(play, "trainer")


PROMISE = "An accepted job is never lost and makes one version"
"""What each of these is about."""

SCENARIOS = (
    Scenario(
        "F01",
        f"{PROMISE}: replicas die",
        "0 lost, 0 doubled of 300",
        kill_api,
        faults=(1, 5),
        chaos=(3, 34),
    ),
    Scenario(
        "F02",
        f"{PROMISE}: the worker dies",
        "0 lost, 0 doubled of 300",
        kill_worker,
        faults=(1, 5),
        chaos=(3, 34),
    ),
    Scenario(
        "F03",
        f"{PROMISE}, and nothing torn is seen: the trainer dies",
        "0 lost, 0 doubled, 0 torn of 300",
        kill_trainer,
        faults=(1, 5),
        chaos=(3, 34),
    ),
)
