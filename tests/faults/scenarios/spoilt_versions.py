"""F18: a version on the model volume is damaged before it is ever read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import httpx

from model_store import aliases, names
from tests.faults.publisher import publish
from tests.faults.scenarios.playing import Play, Scenario, press_of

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
    with httpx.Client(base_url=stage.url, timeout=30, trust_env=False) as client:
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


SCENARIOS = (
    Scenario(
        "F18",
        "A damaged version is never served, the one before it is",
        "1,000 of 1,000 caught",
        spoilt_versions,
        faults=(1, 40),
        chaos=(4, 250),
    ),
)
