"""Every server that is measured: how it starts, what it is sent, how its answer reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.stack import in_front
from benchmarks.workloads import Row, Workload

HERE = Path(__file__).parent
Encode = Callable[[list[Row], Workload], bytes]
Commands = Callable[[Path, int, Path], list[list[str]]]
Decode = Callable[[bytes], list[Any]]


@dataclass(frozen=True)
class Server:
    """One way to serve a model.

    ``commands`` get the folder of the environment's programs, the first of ten ports and a folder
    of their own; ``environment`` names the virtual environment under ``peers/``; ``kind`` is
    "framework" for the serving frameworks, whose best is "the best peer", and "baseline" for the
    rest; ``batching`` is what the server is told about it; ``nested`` encodes rows as nested lists
    where ``encode``, the server's own fastest form, doesn't; ``compares`` is False for a server
    that predicts nothing; ``only`` names the workloads it is measured for; ``remembers`` is True for
    a batcher whose waits depend on earlier load: it is started anew before an open loop; ``stops`` is False for
    a server that would lose its broker's connection while it is stopped.
    """

    name: str
    environment: str
    commands: Commands
    kind: str = "framework"
    path: str = "/predict"
    encode: Encode = field(default=lambda rows, _workload: msgspec.json.encode({"instances": rows}))
    decode: Decode = field(default=lambda body: list(json.loads(body)["predictions"]))
    batching: str = "off"
    prepare: Commands = field(default=lambda _bin, _port, _folder: [])
    nested: Encode | None = None
    compares: bool = True
    only: tuple[str, ...] = ()
    remembers: bool = False
    stops: bool = True


def _uvicorn(app: str) -> Commands:
    """Without the access log, which costs a fifth and which every deployment turns off."""
    return lambda bin_folder, port, _folder: [
        [str(bin_folder / "uvicorn"), app, "--port", str(port), "--workers", "2", "--log-level", "warning"]
    ]


def _empty(bin_folder: Path, port: int, folder: Path) -> list[list[str]]:
    sockets, nginx = in_front(port, folder)
    uvicorn = [str(bin_folder / "uvicorn"), "empty:app", "--log-level", "warning", "--uds"]
    return [*([*uvicorn, str(path)] for path in sockets), nginx]


def _tutorial(bin_folder: Path, port: int, folder: Path) -> list[list[str]]:
    return [[str(bin_folder / "python"), "tutorial_worker.py"], *_uvicorn("tutorial_api:app")(bin_folder, port, folder)]


def _open_inference(rows: list[Row], workload: Workload, *, nested: bool = False) -> bytes:
    """One flat tensor in float32, the form MLServer is fastest in; with text, a tensor for each column."""
    if not workload.texts:
        data = rows if nested else [cell for row in rows for cell in row]
        shape = [len(rows), len(workload.columns)]
        return msgspec.json.encode({"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": data}]})
    inputs = []
    for at, column in enumerate(workload.columns):
        text = column["type"] == "text"
        cells = [row[at] if row[at] is not None or not text else "" for row in rows]
        kind = {"content_type": "str"} if text else {"content_type": "np"}
        shape, datatype = [len(rows), 1], "BYTES" if text else "FP64"
        inputs.append({"name": column["name"], "shape": shape, "datatype": datatype, "parameters": kind, "data": cells})
    return msgspec.json.encode({"parameters": {"content_type": "pd"}, "inputs": inputs})


def _mlserver_settings(_bin: Path, port: int, folder: Path, batching: bool) -> list[list[str]]:
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "http_port": port,
        "host": "127.0.0.1",
        "grpc_port": port + 1,
        "metrics_port": port + 2,
        "parallel_workers": 0 if batching else 2,
        "debug": False,
    }
    model: dict[str, Any] = {"name": "m", "implementation": "runtime.Runtime"}
    if batching:
        model |= {"max_batch_size": 64, "max_batch_time": 0.001}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return []


def _mlserver(batching: bool) -> Server:
    return Server(
        f"MLServer, batching {'on' if batching else 'off'}",
        "mlserver",
        lambda bin_folder, _port, folder: [[str(bin_folder / "mlserver"), "start", str(folder)]],
        path="/v2/models/m/infer",
        encode=_open_inference,
        decode=lambda body: list(json.loads(body)["outputs"][0]["data"]),
        batching="on" if batching else "off",
        prepare=lambda b, port, folder: _mlserver_settings(b, port, folder, batching),
        nested=lambda rows, workload: _open_inference(rows, workload, nested=True),
    )


def _mlflow_body(rows: list[Row], workload: Workload) -> bytes:
    names = [column["name"] for column in workload.columns]
    return msgspec.json.encode({"dataframe_split": {"columns": names, "data": rows}})


MLFLOW = Server(
    "MLflow",
    "mlflow",
    lambda bin_folder, port, folder: [
        f"{bin_folder}/mlflow models serve -m {folder}/saved -p {port} --env-manager local --workers 2".split()
    ],
    path="/invocations",
    encode=_mlflow_body,
    prepare=lambda bin_folder, _port, folder: [[str(bin_folder / "python"), "save.py", str(folder / "saved")]],
)


def _bento(bin_folder: Path, port: int, _folder: Path) -> list[list[str]]:
    return [[str(bin_folder / "bentoml"), "serve", "service:Predictor", "--port", str(port), "--host", "127.0.0.1"]]


def _script(name: str) -> Commands:
    return lambda bin_folder, port, _folder: [[str(bin_folder / "python"), name, str(port)]]


def _pair(name: str, environment: str, commands: Commands, **rest: Any) -> list[Server]:
    return [
        Server(f"{name}, batching {batching}", environment, commands, batching=batching, **rest)
        for batching in ("off", "on")
    ]


INLINE = Server("FastAPI inline", "inline", _uvicorn("plain:app"), kind="baseline")
"""Plain FastAPI with scikit-learn in the process, 2 workers."""

GRAPH = Server("FastAPI with ONNX Runtime", "inline", _uvicorn("graph:app"), kind="baseline")
"""The strongest thing a team would write by hand: the same with the compiled model, 2 workers."""

EMPTY = Server(
    "empty FastAPI endpoint",
    "inline",
    _empty,
    kind="baseline",
    decode=lambda _body: [],
    compares=False,
    only=("logistic",),
)
"""FastAPI and pydantic and nothing else, behind Warren's own Nginx configuration with as many API processes."""

TUTORIAL = Server("RabbitMQ RPC as in tutorials", "inline", _tutorial, kind="baseline", only=("logistic",), stops=False)
"""A connection and a reply queue for each request."""

PEERS: tuple[Server, ...] = (
    INLINE,
    GRAPH,
    EMPTY,
    *_pair("BentoML", "bentoml", _bento, decode=lambda body: list(json.loads(body)), remembers=True),
    _mlserver(batching=False),
    _mlserver(batching=True),
    *_pair("LitServe", "litserve", _script("server.py")),
    MLFLOW,
    *_pair("Ray Serve", "rayserve", _script("deployment.py")),
    TUTORIAL,
)
"""The servers beside Warren."""

NAMES = {server.name: server for server in PEERS}
"""The servers by name."""
