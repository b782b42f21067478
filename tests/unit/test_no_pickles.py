"""What loads, answers or predicts reads no pickle, starts no program and calls nobody; and that would be seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier

from tests import source_tree
from tests.unit.predictor.artefacts import regression
from tests.watching import FORBIDDEN, LOADERS

_PROVOKED = {
    "pickle.find_class": "import pickle; pickle.loads(pickle.dumps(Path))",
    "os.system": "os.system('true')",
    "os.exec": "os.execv('/nowhere', ['nowhere'])",
    "os.fork": "os.fork() or os._exit(0)",
    "os.forkpty": "os.forkpty()[0] or os._exit(0)",
    "os.posix_spawn": "os.posix_spawn('/nowhere', ['nowhere'], {})",
    "subprocess.Popen": "import subprocess; subprocess.run(['/nowhere'])",
    "socket.connect": "import socket; socket.socket().connect(('127.0.0.1', 1))",
    **{f"import {name}": f"import {name}" for name in LOADERS},
}
"""For each thing that is watched, code that does it."""

_LOAD = """
from model_store import runtime
from model_store.runtime import onnx_graph, skops_file
import predictor.__main__, numpy as np
{load}(Path({file!r}).read_bytes()).predict(np.zeros((3, 2)), np.empty((3, 0), dtype=object), probabilities=True)
"""

_ANSWER = """
import asyncio, httpx, importlib
for name in {modules!r}: importlib.import_module(name)
from api.app import create_app
from wire.settings import Settings

async def ask():
    transport = httpx.ASGITransport(create_app(Settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for method, path in (("GET", "/livez"), ("GET", "/openapi.json"), ("GET", "/nothing"), ("POST", "/predict")):
            assert (await client.request(method, path, content=b"\\x80\\x04.")).status_code in (200, 404, 415)

asyncio.run(ask())
"""


def _noted(code: str, *, loaders: bool = True) -> list[str]:
    """What the watch notes while a process of its own runs this code."""
    watched = (
        "import contextlib, json, os\nfrom pathlib import Path\nfrom tests import watching\n"
        f"noted = watching.watch(loaders={loaders})\n{code}\nprint(json.dumps(noted))"
    )
    done = subprocess.run(
        [sys.executable, "-c", watched], cwd=source_tree.CHECKOUT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    noted: list[str] = json.loads(done.stdout.splitlines()[-1])
    return noted


def test_the_watch_notes_everything_it_is_for() -> None:
    assert _PROVOKED.keys() == {*FORBIDDEN, *(f"import {name}" for name in LOADERS)}
    code = "".join(
        f"with contextlib.suppress(OSError, ImportError):\n    {provoked}\n" for provoked in _PROVOKED.values()
    )
    assert set(_noted(code)) >= _PROVOKED.keys()


@pytest.mark.parametrize("kind", ["onnx", "skops"])
def test_loading_and_answering_reach_for_no_pickle_and_no_program(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"model.{kind}"
    if kind == "onnx":
        file.write_bytes(regression())
    else:
        fitted = RandomForestClassifier(5).fit(np.eye(2), [0, 1])
        file.write_bytes(skops.io.dumps(fitted))
    load = {"onnx": "onnx_graph.OnnxRuntime", "skops": "skops_file.load"}[kind]
    # scikit-learn brings joblib along; what it would do with a pickle is noted all the same.
    assert _noted(_LOAD.format(load=load, file=str(file)), loaders=kind == "onnx") == []


def test_the_api_imports_no_reader_of_pickles_and_starts_nothing() -> None:
    modules = [
        module.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for module in source_tree.modules()
        if module.package == "api" and "migrations" not in module.name
    ]
    assert {"api.serve", "api.jobs.worker"} <= {*modules}
    assert _noted(_ANSWER.format(modules=modules)) == []
