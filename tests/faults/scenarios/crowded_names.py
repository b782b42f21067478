"""F19: fifty publishers write versions of one name at once."""

from __future__ import annotations

import multiprocessing
import secrets

from model_store import errors as store
from model_store import reading
from tests.faults.publisher import Made, Press, publish
from tests.faults.scenarios.playing import Play, Scenario, Watching, press_of

_PUBLISHERS = 50
_NUMBER_IN_S = 0.2
"""From asking for a number to having it, whoever else asks. All of a publish also writes and syncs the files, which
depends on the disk."""


def _publish_one(given: tuple[Press, str, str]) -> tuple[str, Made]:
    press, model, job_id = given
    return job_id, publish(press, model, job_id)


def fifty_publishers(play: Play) -> None:
    """F19: fifty processes publish on one name at once; every version is another one, readers see only sound ones."""
    press = press_of(play)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.publisher", "tests.faults.scenarios.crowded_names"])
    slowest_s, number_s, done, doubled = 0.0, 0.0, 0, 0
    with context.Pool(_PUBLISHERS) as pool:
        for _ in range(play.trials):
            model = f"crowd-{secrets.token_hex(6)}"
            reader = _Rising(press, model)
            with Watching(reader.look, 0.01) as watching:
                asked = [(press, model, secrets.token_hex(16)) for _ in range(_PUBLISHERS)]
                made = pool.map_async(_publish_one, asked, chunksize=1).get(60)
            versions = [one.version for _, one in made]
            slowest_s = max(slowest_s, *(one.seconds for _, one in made))
            number_s = max(number_s, *(one.number_s for _, one in made))
            done, doubled = done + len(versions), doubled + len(versions) - len(set(versions))
            if press.volume.versions(model) != sorted(versions):
                play.defect(f"{model}: {sorted(versions)} were answered, {press.volume.versions(model)} are there")
            play.round.defects += watching.found[:3]
            for job_id, one in made:
                manifest = reading.read(press.volume, model, one.version, press.verifier, 10**8).manifest
                if manifest.job_id != job_id:
                    play.defect(f"{model} {one.version} is another job's")
    play.round.count("publishes, 50 at once", done, doubled)
    play.round.figures["slowest_number_s"] = round(number_s, 3)
    play.round.figures["slowest_publish_s"] = round(slowest_s, 2)
    if number_s > _NUMBER_IN_S:
        play.slow(f"a publisher waited {number_s:.2f} s for its number")


class _Rising:
    """Reads the newest version all the time: it is sound, and never an older one than before."""

    def __init__(self, press: Press, model: str) -> None:
        self._press, self._model, self._newest = press, model, 0

    def look(self) -> list[str]:
        versions = self._press.volume.versions(self._model)
        if not versions or versions[-1] == self._newest:
            return []
        newest, before = versions[-1], self._newest
        self._newest = newest
        try:
            reading.read(self._press.volume, self._model, newest, self._press.verifier, 10**8)
        except store.StoreError as error:
            return [f"{self._model} {newest} could be seen and not read: {error}"]
        return [f"the newest was {before} and is {newest}"] if newest < before else []


SCENARIOS = (
    Scenario(
        "F19",
        "Fifty publishers on one name",
        "50 at once x 20: 0 errors, 0 doubled; a number <= 0.2 s",
        fifty_publishers,
        faults=(1, 1),
        chaos=(1, 20),
    ),
)
