"""What a predictor does with hostile artefacts that were signed with the right key: nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime
import pytest
import skops.io
from sklearn.linear_model import LinearRegression

from model_store import names, signing
from model_store.runtime import samples, skops_file
from model_store.volume import Volume
from tests.source_tree import CHECKOUT
from tests.unit.predictor import hostile
from tests.unit.predictor.artefacts import Shelf, regression

MAX_GROWN_MB = 50
SOUND = ("sound-onnx", "sound-skops")
SPECIAL = ("fifo", "device", "directory")

HOSTILE = (
    *(f"skops-{name}" for name in hostile.SKOPS),
    *(f"onnx-{name}" for name in hostile.ONNX),
    *(f"{runtime}-{kind}" for runtime in ("skops", "onnx") for kind in SPECIAL),
    "manifest-whitelists",
    "manifest-names-a-loader",
    "schema-is-a-pickle",
    "samples-are-a-pickle",
)


@dataclass(frozen=True)
class Corpus:
    """What became of each model, and where its canary would be."""

    folder: Path
    ended: dict[str, dict[str, Any]]

    def canary(self, model: str) -> Path:
        return self.folder / f"{model}-canary"

    def files(self, model: str) -> list[Path]:
        return list(Volume(self.folder / "models").version(model, 1).iterdir())


def _publish_all(shelf: Shelf, folder: Path) -> None:
    for runtime, corpus in (("skops", hostile.SKOPS), ("onnx", hostile.ONNX)):
        for name, make in corpus.items():
            content = make(folder / f"{runtime}-{name}-canary")
            shelf.publish(regression(), f"{runtime}-{name}", files={f"model.{runtime}": content}, runtime=runtime)
        for kind in SPECIAL:
            shelf.publish(regression(), f"{runtime}-{kind}", files={f"model.{runtime}": b""}, runtime=runtime)
            _replace(shelf.volume.version(f"{runtime}-{kind}", 1) / f"model.{runtime}", kind)
    for name, file in (("schema-is-a-pickle", "schema.json"), ("samples-are-a-pickle", "samples.json")):
        shelf.publish(regression(), name, files={file: hostile.pickled(folder / f"{name}-canary")})
    for name, make, more in (
        ("manifest-whitelists", hostile.constructs, {"trusted": ["io.open"], "trusted_types": ["io.open"]}),
        ("manifest-names-a-loader", hostile.by_joblib, {"runtime": "joblib", "loader": "joblib"}),
    ):
        content = make(folder / f"{name}-canary")
        shelf.publish(regression(), name, files={"model.skops": content}, runtime="skops")
        _sign_again(shelf, name, more)


def _replace(file: Path, kind: str) -> None:
    """Something else where the signed file, which is empty, was."""
    file.parent.chmod(0o755)
    file.unlink()
    match kind:
        case "fifo":
            os.mkfifo(file)
        case "directory":
            file.mkdir()
        case "device":
            # Not everybody may make a device; the zeroes of this one have no end.
            with contextlib.suppress(PermissionError):
                os.mknod(file, 0o644 | stat.S_IFCHR, os.makedev(1, 5))


def _sign_again(shelf: Shelf, model: str, more: dict[str, Any]) -> None:
    """Put more into the manifest than we ever would."""
    at = shelf.volume.version(model, 1)
    manifest = json.dumps({**json.loads((at / names.MANIFEST).read_bytes()), **more}).encode()
    signature = signing.Signer(shelf.keys / "signing.key").sign(manifest)
    for file, data in ((names.MANIFEST, manifest), (names.SIGNATURE, signature)):
        (at / file).chmod(0o644)
        (at / file).write_bytes(data)


def _publish_sound(shelf: Shelf, folder: Path) -> None:
    """Two that must be served, with a pickle among their files that is for people."""
    fitted = LinearRegression().fit(np.eye(2), [1.0, 2.0])
    stored = skops.io.dumps(fitted)
    answers = samples.record(skops_file.load(stored), np.eye(2), np.empty((2, 0), dtype=object))
    for model, runtime, files in (
        ("sound-onnx", "onnx", {}),
        ("sound-skops", "skops", {"model.skops": stored, "samples.json": answers}),
    ):
        for_people = {"model.joblib": hostile.by_joblib(folder / f"{model}-canary")}
        shelf.publish(regression(), model, files={**files, **for_people}, runtime=runtime)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("hostile")
    shelf = Shelf.make(folder)
    _publish_sound(shelf, folder)
    _publish_all(shelf, folder)
    command = [sys.executable, "-m", "tests.unit.predictor.hostile_loads"]
    done = subprocess.run(
        [*command, str(shelf.volume.root), str(shelf.verify_key_file), *SOUND],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"model"')]
    assert done.returncode == 0, f"ended after {told[-1:]}: {done.stderr}"
    return Corpus(folder, {each["model"]: each for each in told})


@pytest.mark.parametrize("model", HOSTILE)
def test_a_signed_hostile_artefact_is_refused_and_does_nothing(corpus: Corpus, model: str) -> None:
    if model.endswith("-device") and not any(path.is_char_device() for path in corpus.files(model)):
        assert "CI" not in os.environ, "no device can be made here"
        pytest.skip("no device can be made here: only root may")
    ended = corpus.ended[model]
    assert ended["code"] == "model_corrupt"
    assert not corpus.canary(model).exists()
    assert ended["events"] == []
    assert ended["grown_mb"] <= MAX_GROWN_MB
    assert ended["cpu_s"] <= 5


@pytest.mark.parametrize("model", SOUND)
def test_a_sound_version_is_served_and_the_pickle_beside_it_is_never_opened(corpus: Corpus, model: str) -> None:
    assert corpus.ended[model]["code"] == ""
    assert corpus.ended[model]["events"] == []
    assert not corpus.canary(model).exists()


def test_nothing_of_the_corpus_was_left_out(corpus: Corpus) -> None:
    assert corpus.ended.keys() == {*HOSTILE, *SOUND}


@pytest.mark.parametrize("make", hostile.PICKLES.values(), ids=hostile.PICKLES)
def test_the_pickles_do_run_where_they_are_unpickled(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    """Else their canaries would prove nothing."""
    content = make(tmp_path / "canary")
    load = joblib.load if make is hostile.by_joblib else pickle.load
    _close(load(io.BytesIO(content)))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("make", hostile.RUNNING.values(), ids=hostile.RUNNING)
def test_the_archives_do_run_where_the_file_says_what_is_trusted(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    content = make(tmp_path / "canary")
    asked = skops.io.get_untrusted_types(data=content)
    with contextlib.suppress(TypeError):
        _close(skops.io.loads(content, trusted=asked))
    assert (tmp_path / "canary").exists()


def test_the_graph_of_two_formats_is_a_model_to_onnxruntime(tmp_path: Path) -> None:
    content = hostile.of_two_formats(tmp_path / "canary")
    assert [node.name for node in onnxruntime.InferenceSession(content).get_inputs()] == ["numbers"]


def _close(loaded: object) -> None:
    for each in loaded.values() if isinstance(loaded, dict) else [loaded]:
        if hasattr(each, "close"):
            each.close()
