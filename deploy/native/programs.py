"""The processes of a stack: what runs, with which environment, and in which order it stops.

In come a layout and its ports; out go Program records. A pure function of its arguments but for
the digests of the files a program is made of, which tell the supervisor what has changed.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.native import credentials, nginx, strays
from deploy.native.broker import HOST, Node, Ports
from deploy.native.layout import Layout
from deploy.native.ports import PortBlock
from wire import settings, topology


@dataclass(frozen=True)
class Program:
    """One supervised process.

    Programs stop one after another in falling ``order``, each after the one before it is gone, so
    work has somewhere to go until it is finished; those of a ``group`` are alike. A process is ready when its
    ``ready_url`` answers 200, or something listens on its ``ready_port``; ``ports`` are for people.
    """

    name: str
    group: str
    order: int
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_wait_s: int
    stop_signal: str = "TERM"
    ready_url: str = ""
    ready_port: int = 0
    ports: Mapping[str, int] = field(default_factory=dict)


_DRAIN_MARGIN_S = 10
"""Seconds beyond the drain before a process is killed: it needs a moment to close after it."""

_NGINX_STOP_S = 20
"""Less than its workers have after a reload: an event stream would hold up a stop for as long. Not the user's
setting, because one that changes would stop Nginx."""

_INHERITED = ("PATH", "HOME", "TZ", "LD_LIBRARY_PATH", "COVERAGE_PROCESS_CONFIG")
"""The last one lets tests measure the processes they start."""

_SOURCES: dict[str, tuple[str, ...]] = {
    "api": ("api", "wire"),
    "worker": ("api", "wire"),
    "trainer": ("trainer", "wire", "tables", "model_store"),
    "predictor": ("predictor", "wire", "tables", "model_store"),
}


def node(layout: Layout, block: PortBlock) -> Node:
    """The stack's broker, which knows its users and queues from the definitions file."""
    return Node(layout.broker, Ports(block.amqp, block.dist, block.epmd), definitions=layout.definitions)


def programs(layout: Layout, block: PortBlock, tuning: Mapping[str, str]) -> list[Program]:
    """Everything that runs, in the order it starts; ``tuning`` are the user's own WARREN_ variables."""
    return [
        *_broker_programs(layout, block),
        *(_predictor(layout, block, tuning, number) for number in range(1, layout.predictors + 1)),
        _service(layout, block, tuning, "trainer", "trainer", 40, ("-m", "trainer")),
        _service(layout, block, tuning, "worker", "worker", 50, ("-m", "api.jobs.worker")),
        *(_replica(layout, block, tuning, number) for number in range(1, layout.replicas + 1)),
        _nginx(layout, block),
    ]


def _broker_programs(layout: Layout, block: PortBlock) -> list[Program]:
    broker = node(layout, block)
    environment = {
        **broker.environment(),
        "CONFIG_DIGEST": _digest([broker.home / "rabbitmq.conf", layout.definitions]),
    }
    ports = {"amqp": block.amqp, "dist": block.dist}
    return [
        Program("epmd", "epmd", 10, broker.epmd_command(), broker.environment(), 5, ports={"epmd": block.epmd}),
        Program("broker", "broker", 20, broker.server_command(), environment, 60, ready_port=block.amqp, ports=ports),
    ]


def _predictor(layout: Layout, block: PortBlock, tuning: Mapping[str, str], number: int) -> Program:
    return _service(layout, block, tuning, f"predictor-{number}", "predictor", 30, ("-m", "predictor"))


def _replica(layout: Layout, block: PortBlock, tuning: Mapping[str, str], number: int) -> Program:
    own = {
        "WARREN_API__HOST": HOST,
        "WARREN_API__PORT": str(block.replica(number)),
        "WARREN_API__SOCKET": str(layout.replica_socket(number)),
        "WARREN_API__REPLICA": f"api-{number}",
    }
    command = ("-m", "api.serve")
    return _service(layout, block, {**tuning, **own}, f"api-{number}", "api", 60, command, port=block.replica(number))


def _service(
    layout: Layout,
    block: PortBlock,
    extra: Mapping[str, str],
    name: str,
    role: topology.Role,
    order: int,
    command: Sequence[str],
    port: int = 0,
) -> Program:
    metrics = block.metrics(name)
    environment = {
        **_locations(layout, role),
        **extra,
        "PYTHONUNBUFFERED": "1",
        "WARREN_BROKER__HOST": HOST,
        "WARREN_BROKER__PORT": str(block.amqp),
        "WARREN_BROKER__USER": role,
        "WARREN_BROKER__PASSWORD_FILE": str(credentials.password_file(layout, role)),
        "WARREN_PROCESS__METRICS_HOST": HOST,
        "WARREN_PROCESS__METRICS_PORT": str(metrics),
        "CODE_DIGEST": _digest(_source_files(layout, role)),
    }
    return Program(
        name,
        role,
        order,
        (sys.executable, *command),
        environment,
        int(drain_s(extra)) + _DRAIN_MARGIN_S,
        ready_url=f"http://{HOST}:{port or metrics}/readyz",
        ports={"http": port, "metrics": metrics} if port else {"metrics": metrics},
    )


def _locations(layout: Layout, role: topology.Role) -> dict[str, str]:
    """What a role sees of the disk; the user's own settings may say otherwise."""
    signing_key, verify_key = layout.secrets / "signing.key", layout.secrets / "signing.pub"
    models = {"WARREN_PATHS__MODELS": str(layout.models), "WARREN_PATHS__VERIFY_KEY_FILE": str(verify_key)}
    tables = {
        "WARREN_PATHS__DATASETS": str(layout.datasets),
        "WARREN_PATHS__PREDICTIONS": str(layout.predictions),
    }
    ledger = {"WARREN_LEDGER__URL": f"sqlite:///{layout.ledger}/ledger.sqlite3"}
    seen: dict[topology.Role, dict[str, str]] = {
        "api": tables | ledger,
        "worker": tables | ledger,
        "trainer": tables | models | {"WARREN_PATHS__SIGNING_KEY_FILE": str(signing_key)},
        "predictor": models,
    }
    return seen[role]


def _nginx(layout: Layout, block: PortBlock) -> Program:
    # Without a digest of its configuration: a running Nginx reads a new one without being stopped.
    return Program(
        "nginx",
        "nginx",
        70,
        nginx.command(layout),
        {},
        _NGINX_STOP_S,
        stop_signal="QUIT",
        ready_url=f"{layout.url}/readyz",
        ports={"http": layout.port, **({"grpc": layout.grpc_port} if layout.grpc_port else {})},
    )


def base_environment(layout: Layout, environment: Mapping[str, str]) -> dict[str, str]:
    """What every process inherits: nothing of the invoking shell but where programs and time zones are."""
    kept = {name: environment[name] for name in _INHERITED if name in environment}
    return {
        "PATH": os.defpath,
        **kept,
        "LANG": "C.UTF-8",
        "TMPDIR": str(layout.temporary),
        strays.MARKER: str(layout.home),
    }


def tuning(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings (``WARREN_<SECTION>__<FIELD>``) that the user gave to ``make up``, but for those of Nginx alone."""
    settings = {name: value for name, value in environment.items() if name.startswith("WARREN_") and "__" in name}
    return {name: value for name, value in settings.items() if not name.startswith("WARREN_TLS__")}


def drain_s(tuning: Mapping[str, str]) -> float:
    """How long a stopping process may take to finish what it has."""
    return float(tuning.get("WARREN_PROCESS__DRAIN_S", settings.Process().drain_s))


def _source_files(layout: Layout, role: str) -> list[Path]:
    folders = [layout.checkout / package for package in _SOURCES[role]]
    code = [
        path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".json", ".mako", ".ini")
    ]
    return [*sorted(code), layout.checkout / "requirements" / "native.txt"]


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file).encode() + b"\0")
        digest.update(file.read_bytes() if file.exists() else b"")
    return digest.hexdigest()[:16]
