"""F19: fifty publishers write versions of one name at once."""

from __future__ import annotations

import multiprocessing
import secrets

from model_store import errors as store
from model_store import reading
from tests.faults.publisher import Press, publish
from tests.faults.scenarios.playing import Play, Scenario, Watching, press_of

_PUBLISHERS = 50


def _publish_one(given: tuple[Press, str, str]) -> tuple[str, int, float]:
    press, model, job_id = given
    return job_id, *publish(press, model, job_id)


def fifty_publishers(play: Play) -> None:
    """F19: fifty processes publish on one name at once; every version is another one, readers see only sound ones."""
    press = press_of(play)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.publisher", "tests.faults.scenarios.crowded_names"])
    slowest_s, done, doubled = 0.0, 0, 0
    with context.Pool(_PUBLISHERS) as pool:
        for _ in range(play.trials):
            model = f"crowd-{secrets.token_hex(6)}"
            reader = _Rising(press, model)
            with Watching(reader.look, 0.01) as watching:
                asked = [(press, model, secrets.token_hex(16)) for _ in range(_PUBLISHERS)]
                made = pool.map_async(_publish_one, asked, chunksize=1).get(60)
            versions = [version for _, version, _ in made]
            slowest_s = max(slowest_s, *(seconds for _, _, seconds in made))
            done, doubled = done + len(versions), doubled + len(versions) - len(set(versions))
            if press.volume.versions(model) != sorted(versions):
                play.defect(f"{model}: {sorted(versions)} were answered, {press.volume.versions(model)} are there")
            play.round.defects += watching.found[:3]
            for job_id, version, _ in made:
                manifest = reading.read(press.volume, model, version, press.verifier, 10**8).manifest
                if manifest.job_id != job_id:
                    play.defect(f"{model} {version} is another job's")
    play.round.count("publishes, 50 at once", done, doubled)
    play.round.figures["slowest_publish_s"] = round(slowest_s, 2)


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
        "50 at once x 20: 0 errors, 0 doubled",
        fifty_publishers,
        faults=(1, 1),
        chaos=(1, 20),
    ),
)
