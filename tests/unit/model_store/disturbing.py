"""A volume, keys, a moving alias, and ways to disturb the store: kill it, interrupt it, run it in many processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_store import aliases, errors, publishing, reading, signing
from model_store.manifest import Manifest
from model_store.volume import Volume

STEPS = (
    "open",
    "write",
    "fsync",
    "rename",
    "replace",
    "link",
    "symlink",
    "unlink",
    "mkdir",
    "rmdir",
    "chmod",
    "fchmod",
)
FILES = {"model.onnx": b"graph" * 50, "model.joblib": b"pipeline" * 20, "schema.json": b'{"columns":[]}'}


def manifest_of(model: str = "iris", job_id: str = "job-1", **fields: Any) -> Manifest:
    values: dict[str, Any] = {
        "created_at": "2026-05-01T10:00:00+00:00",
        "estimator": "LogisticRegression",
        "task": "classification",
        "target": "species",
        "runtime": "onnx",
        "metrics": {"accuracy": 0.97},
        **fields,
    }
    return Manifest(model=model, job_id=job_id, **values)


@dataclass(frozen=True)
class Store:
    """A volume with the keys of its trainer."""

    volume: Volume
    signer: signing.Signer
    verifier: signing.Verifier

    def draft(self, model: str = "iris", job_id: str = "job-1", files: dict[str, bytes] | None = None) -> Path:
        folder = publishing.draft(self.volume, model, job_id)
        for name, data in (FILES if files is None else files).items():
            (folder / name).write_bytes(data)
        return folder

    def publish(self, model: str = "iris", job_id: str = "job-1", **fields: Any) -> publishing.Published:
        folder = self.draft(model, job_id)
        return publishing.publish(self.volume, folder, manifest_of(model, job_id, **fields), self.signer, self.verifier)

    def read(self, model: str = "iris", version: int = 1, **options: Any) -> reading.Artefact:
        return reading.read(self.volume, model, version, self.verifier, 10**6, **options)

    def versions_of(self, job_id: str, model: str = "iris") -> list[int]:
        """Every visible version of a job; each must be sound."""
        manifests = [self.read(model, version).manifest for version in self.volume.versions(model)]
        return [manifest.version for manifest in manifests if manifest.job_id == job_id]


@contextmanager
def before_each_step(act: Callable[[int, str], None]) -> Iterator[None]:
    """Call ``act`` with the number and name of every change to the file system, before it happens."""
    count, inside = 0, False
    originals = {name: getattr(os, name) for name in STEPS}

    def wrapped(name: str) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            nonlocal count, inside
            if not inside and (name != "open" or args[1] & os.O_CREAT):
                count, inside = count + 1, True
                try:
                    act(count, name)
                finally:
                    inside = False
            return originals[name](*args, **options)

        return step

    for name in STEPS:
        setattr(os, name, wrapped(name))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def count_steps(work: Callable[[], object]) -> int:
    seen = 0

    def note(number: int, name: str) -> None:
        nonlocal seen
        seen = number

    with before_each_step(note):
        work()
    return seen


def killed_before(step: int, work: Callable[[], object]) -> bool:
    """Run ``work`` in a process that is killed before its ``step``-th change; whether it was."""
    child = os.fork()
    if child == 0:
        try:

            def kill(number: int, name: str) -> None:
                if number == step:
                    os.kill(os.getpid(), signal.SIGKILL)

            with before_each_step(kill):
                work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def run_and_die(work: Callable[[], object]) -> None:
    """Run ``work`` in a process that is killed right after it, if not before."""
    assert killed_before(0, lambda: (work(), os.kill(os.getpid(), signal.SIGKILL)))


def interrupted_before(step: int, work: Callable[[], Any], other: Callable[[], Any]) -> tuple[Any, Any]:
    """Let ``other`` run whole just before ``work``'s ``step``-th change; what each gave or raised."""
    outcome: list[Any] = []

    def interrupt(number: int, name: str) -> None:
        if number == step:
            outcome.append(outcome_of(other))

    with before_each_step(interrupt):
        mine = outcome_of(work)
    return mine, (outcome or [None])[0]


def outcome_of(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except errors.StoreError as error:
        return error


def in_processes(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run ``work(i)`` in ``count`` processes released at one moment; what each gave or raised."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(count), context.Queue()

    def body(number: int) -> None:
        barrier.wait(60)
        results.put((number, outcome_of(lambda: work(number))))

    processes = [context.Process(target=body, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    try:
        return [result for _, result in sorted((results.get(timeout=60) for _ in processes), key=lambda pair: pair[0])]
    finally:
        for process in processes:
            process.join(60)


def move(store: Store, version: int, expected: int | None = None, alias: str = "champion") -> aliases.Alias:
    return aliases.move_alias(store.volume, "iris", alias, version, expected=expected, by="tester")
