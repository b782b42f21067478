"""What a fault stack changes in the programs of a stack: one more trainer, failpoints, a clock and a broker's port."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from deploy.native.ports import PortBlock
from deploy.native.programs import Program

SECOND_TRAINER = "trainer-2"


def second(trainer: Program, block: PortBlock) -> Program:
    """Another trainer beside this one."""
    port = second_metrics(block)
    environment = {**trainer.environment, "WARREN_PROCESS__METRICS_PORT": str(port)}
    ready = f"http://127.0.0.1:{port}/readyz"
    return replace(trainer, name=SECOND_TRAINER, environment=environment, ready_url=ready, ports={"metrics": port})


def second_metrics(block: PortBlock) -> int:
    """The port where the second trainer says how it is."""
    return block.all()[-1]


def woven(program: Program, points: Path) -> Program:
    """The program with its failpoints, armed in the folder ``points``."""
    command = list(program.command)
    module = command[command.index("-m") + 1]
    command = [command[0], "-m", "tests.faults.woven", str(points), program.group, module]
    return replace(program, command=command)


def by_clock(program: Program, clock: Path) -> Program:
    """The program with a wall clock that is as wrong as the file ``clock`` says."""
    wrong = {"LD_PRELOAD": str(wall_clock(clock.parent)), "WALL_CLOCK_FILE": str(clock)}
    return replace(program, environment={**program.environment, **wrong})


def wall_clock(folder: Path) -> Path:
    """The library that makes a wall clock wrong, compiled into a folder unless it is there."""
    library = folder / "wall_clock.so"
    if not library.exists():
        source = Path(__file__).parent / "wall_clock.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source], check=True)
    return library


def through(program: Program, broker_port: int) -> Program:
    """The program with the broker at another port."""
    return replace(program, environment={**program.environment, "WARREN_BROKER__PORT": str(broker_port)})
