"""F16, F17, F18, F19: the model volume is full, read-only, spoilt, and written to by fifty at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from model_store import aliases, names, reading
from model_store import errors as store
from tests.acceptance.stack import ENDED, Client
from tests.faults.account import QUICK, Account
from tests.faults.load import Load
from tests.faults.publisher import Press, publish
from tests.faults.scenarios.playing import Play, Scenario, Watching
from tests.rabbit import wait_until
from wire import topology

_RATE = 60.0
_PUBLISHERS = 50


def press_of(play: Play) -> Press:
    return Press(play.stage.layout.home, play.stage.layout.models)


# ---------------------------------------------------------------------- full


def full_volume(play: Play) -> None:
    """F16: no room, at any byte of a publish, or no inode; the job says so, nothing partial is seen, all goes on."""
    stage = play.stage
    stage.ctl("purge_queue", "-p", "warren", topology.DEAD)
    account = Account(stage)
    refused = 0
    with Load(stage.url, _RATE) as load, Client(stage.url) as client:
        for trial in range(play.trials):
            fill = _without_room if trial % 3 else _without_inodes
            with fill(play):
                job = client.finished(account.submit().result(), 60)
            code = (job.get("error") or {}).get("code")
            refused += code == "storage_full"
            if job["status"] != "succeeded" and code != "storage_full":
                play.defect(f"on a full volume: {job['status']} {job.get('error')}")
            after = client.finished(account.submit().result(), 60)
            if after["status"] != "succeeded":
                play.defect(f"with room again: {after['status']} {after.get('error')}")
    play.judge(load)
    outcome = account.settle(dead_letters=refused)
    play.round.defects += outcome._replace(failed=[]).defects()
    play.round.count("full volumes", play.trials)
    play.round.figures["refused"] = refused
    if not refused:
        play.defect("no job met the full volume")


@contextmanager
def _without_room(play: Play) -> Iterator[None]:
    """Room for some pages only: a publish needs about eight, so it ends at any of its steps."""
    ballast = play.stage.layout.models / "ballast"
    left_bytes = play.rng.randrange(12) * 4096
    status = os.statvfs(play.stage.layout.models)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(4096, status.f_bavail * status.f_bsize - left_bytes))
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def _without_inodes(play: Play) -> Iterator[None]:
    folder = play.stage.layout.models / ".ballast"
    folder.mkdir()
    left = play.rng.randrange(8)
    try:
        # Somebody else may take one meanwhile; then it is full a file earlier.
        with contextlib.suppress(OSError):
            for number in range(os.statvfs(folder).f_favail - left):
                (folder / str(number)).touch()
        yield
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def full_ledger(play: Play) -> None:
    """F16: no room for the ledger, with jobs queued and running; predictions go on, and so does every job later."""
    stage, account = play.stage, Account(play.stage)
    slowest_s, refused = 0.0, 0
    with Load(stage.url, _RATE) as load, httpx.Client(base_url=stage.url, timeout=20, trust_env=False) as client:
        for _ in range(play.trials):
            jobs = [account.submit().result() for _ in range(4)]
            with _full(stage.layout.ledger):
                for _ in range(5):
                    began = time.monotonic()
                    answer = client.post("/train", json={"model": "quick-refused", **QUICK})
                    slowest_s = max(slowest_s, time.monotonic() - began)
                    if answer.status_code == 202:
                        # Room that the write-ahead log had taken before; what is accepted ends like all others.
                        jobs.append(answer.json()["job_id"])
                        continue
                    refused += 1
                    if answer.status_code != 503 or "retry-after" not in answer.headers:
                        play.defect(f"a training without a ledger: {answer.status_code} {answer.text[:100]}")
                time.sleep(6)
            jobs += [account.submit().result() for _ in range(2)]
            for job_id in jobs:
                wait_until(lambda j=job_id: _ended(client, j), f"{job_id} ends", 90)
    play.judge(load)
    play.round.defects += account.settle().defects()
    play.round.count("full ledgers", play.trials)
    play.round.figures["refused"] = refused
    if not refused:
        play.defect("no training met the full ledger")
    play.round.figures["slowest_503_s"] = round(slowest_s, 2)
    if slowest_s > 1.2:
        play.slow(f"a 503 took {slowest_s:.1f} s")


def _ended(client: httpx.Client, job_id: str) -> bool:
    answer = client.get(f"/jobs/{job_id}")
    return answer.status_code == 200 and answer.json()["status"] in ENDED


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Not one byte is left, however often room appears."""
    ballast = folder / "ballast"
    over = threading.Event()

    def fill() -> None:
        with ballast.open("ab") as file:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    file.write(b"x" * 4096)
                    file.flush()
                    continue
                over.wait(0.01)

    filling = threading.Thread(target=fill, daemon=True)
    filling.start()
    try:
        wait_until(lambda: not os.statvfs(folder).f_bavail, "the file system is full", 20)
        yield
    finally:
        over.set()
        filling.join(10)
        ballast.unlink()


# ---------------------------------------------------------------------- read-only


def read_only_volume(play: Play) -> None:
    """F17: the volume becomes read-only; loaded models go on, the trainer says it is not ready, jobs wait or say so."""
    stage = play.stage
    stage.ctl("purge_queue", "-p", "warren", topology.DEAD)
    account = Account(stage)
    failed = 0
    with Load(stage.url, _RATE) as load, Client(stage.url) as client:
        for _ in range(play.trials):
            wait_until(stage.remount_read_only, "nobody writes to the volume", 20)
            try:
                job_id = account.submit().result()
                wait_until(lambda: not stage.ready_itself("trainer"), "the trainer says that it is not ready", 10)
                # How a job ends is decided on the volume, so it waits for one that can be written to.
                wait_until(lambda j=job_id: client.job(j)["attempts"] == 3, "three attempts were made", 60)
                assert client.job(job_id)["status"] not in ENDED, client.job(job_id)
            finally:
                stage.remount_writable()
            wait_until(lambda: stage.ready_itself("trainer"), "the trainer is ready again", 10)
            failed += client.finished(job_id, 60)["status"] == "failed"
            after = client.finished(account.submit().result(), 60)
            if after["status"] != "succeeded":
                play.defect(f"writable again: {after['status']} {after.get('error')}")
    play.judge(load)
    play.round.defects += account.settle(dead_letters=failed)._replace(failed=[]).defects()
    play.round.count("read-only volumes", play.trials)


# ---------------------------------------------------------------------- spoilt

Damage = Callable[[Play, Path, Path], None]


def _flip(play: Play, new: Path, _old: Path) -> None:
    path = play.rng.choice([new / name for name in os.listdir(new)])  # noqa: PTH208
    content = bytearray(path.read_bytes())
    content[play.rng.randrange(len(content))] ^= 1 << play.rng.randrange(8)
    _write(path, bytes(content))


def _cut(play: Play, new: Path, _old: Path) -> None:
    path = play.rng.choice([new / name for name in os.listdir(new)])  # noqa: PTH208
    content = path.read_bytes()
    _write(path, content[: play.rng.randrange(len(content))])


def _remove(play: Play, new: Path, _old: Path) -> None:
    # Without a signature there is no version at all, which is what a half-made one looks like.
    play.rng.choice([new / name for name in ("model.onnx", "schema.json", "samples.json", "manifest.json")]).unlink()


def _add(play: Play, new: Path, _old: Path) -> None:
    (new / f"extra-{play.rng.randrange(100)}").write_bytes(b"extra")


def _replay(_play: Play, new: Path, old: Path) -> None:
    for name in ("manifest.json", "manifest.sig"):
        _write(new / name, (old / name).read_bytes())


def _link(_play: Play, new: Path, old: Path) -> None:
    (new / "model.onnx").unlink()
    (new / "model.onnx").symlink_to(old / "model.onnx")


def _write(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


_DAMAGES: tuple[Damage, ...] = (_flip, _flip, _flip, _cut, _remove, _add, _replay, _link)


def spoilt_versions(play: Play) -> None:
    """F18: the champion is damaged before it is ever read; the version before it answers, and asking for it is 409."""
    stage, press = play.stage, press_of(play)
    pids = {name: stage.pid(name) for name in ("predictor-1", "predictor-2")}
    caught = 0
    with httpx.Client(base_url=stage.url, timeout=10, trust_env=False) as client:
        for trial in range(play.trials):
            model = f"spoilt-{secrets.token_hex(6)}"
            for number in (1, 2):
                publish(press, model, secrets.token_hex(16))
                aliases.move_alias(press.volume, model, names.CHAMPION, number)
            damage = _DAMAGES[trial % len(_DAMAGES)]
            damage(play, press.volume.version(model, 2), press.volume.version(model, 1))
            trouble = _trouble(client, model)
            if trouble:
                play.defect(f"{damage.__name__} {model}: {trouble}")
            caught += not trouble
    play.round.count("damages", play.trials, play.trials - caught)
    again = [name for name, pid in pids.items() if stage.pid(name) != pid]
    if again:
        play.defect(f"damaged versions ended {again}")


def _trouble(client: httpx.Client, model: str) -> str:
    asked = {"model": model, "instances": [[1.0, 2.0]]}
    by_alias = [client.post("/predict", json=asked) for _ in range(2)]
    named = client.post("/predict", json={**asked, "version": 2})
    told = [(answer.status_code, answer.json().get("version")) for answer in by_alias]
    if told != [(200, 1)] * 2:
        return f"by its alias {told}"
    # Without its signature a version is not there; damaged in any other way it is a conflict.
    if (named.status_code, named.json()["code"]) not in ((409, "model_corrupt"),):
        return f"by its number {named.status_code} {named.json()}"
    return ""


# ---------------------------------------------------------------------- fifty at once


def _publish_one(given: tuple[Press, str, str]) -> tuple[str, int, float]:
    press, model, job_id = given
    return job_id, *publish(press, model, job_id)


def fifty_publishers(play: Play) -> None:
    """F19: fifty processes publish on one name at once; every version is another one, readers see only sound ones."""
    press = press_of(play)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.publisher", "tests.faults.scenarios.volumes"])
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
        "F18",
        "A damaged version is never served, the one before it is",
        "1,000 of 1,000 caught",
        spoilt_versions,
        faults=(1, 40),
        chaos=(4, 250),
    ),
    Scenario(
        "F16",
        "A full volume is said, and predictions go on",
        "every job ends; 0 partial; 0 failed predictions",
        full_volume,
        faults=(1, 2),
        chaos=(2, 15),
        stage="small volume",
    ),
    Scenario(
        "F16 ledger",
        "A full ledger refuses trainings and nothing else",
        "503 <= 1 s; 0 lost; 0 failed predictions",
        full_ledger,
        faults=None,
        chaos=(1, 10),
        stage="small ledger",
    ),
    Scenario(
        "F17",
        "A read-only volume keeps serving",
        "0 failed predictions of loaded models",
        read_only_volume,
        faults=(1, 1),
        chaos=(1, 10),
        stage="small volume",
    ),
    Scenario(
        "F19",
        "Fifty publishers on one name",
        "50 at once x 20: 0 errors, 0 doubled",
        fifty_publishers,
        faults=(1, 1),
        chaos=(1, 20),
    ),
)
