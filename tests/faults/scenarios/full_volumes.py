"""F16, F17: the model volume or the ledger's is full, and the model volume is read-only."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.acceptance.stack import ENDED, Client
from tests.faults.account import QUICK, Account
from tests.faults.load import Load
from tests.faults.scenarios.playing import Play, Scenario
from tests.rabbit import wait_until
from wire import topology

_RATE = 60.0

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
        with ballast.open("ab", buffering=0) as file:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    file.write(b"x" * 4096)
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


SCENARIOS = (
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
)
