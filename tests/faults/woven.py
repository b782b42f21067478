"""Becomes a process of the stack with its failpoints: ``python -m tests.faults.woven <folder> <role> <module>``.

A point acts when a file of its name lies in the folder; whoever takes the file away acts, once: ``kill`` ends the
process as ``kill -9`` does, ``freeze`` stops it (SIGSTOP), ``raise`` raises OSError. A process whose number stands
behind the action is spared. A predictor that starts while a file ``older`` lies there reads the first schema of the
frames and no other, as those before the second did. While a file ``thrice`` lies there, every answer goes out three
times, and its kind is a line of that file.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.points import POINTS, Point
from wire import errors, frames

OLDER = "older"
"""The file that makes a starting predictor an older one."""
THRICE = "thrice"
"""The file that makes every answer go out three times."""


def main(folder: str, role: str, module: str) -> None:
    for name, point in POINTS.items():
        if point.role == role:
            weave(name, point, Path(folder))
    repeat_answers(Path(folder) / THRICE)
    if role == "trainer":
        take_quick_child()
    if role == "predictor" and (Path(folder) / OLDER).exists():
        forget_second_schema()
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def weave(name: str, point: Point, folder: Path) -> None:
    """Wrap the point's function. Raises ImportError or AttributeError when it is gone."""
    owner, attribute = found(point)
    original = getattr(owner, attribute)
    setattr(owner, attribute, _wrapped(original, point, functools.partial(fire, folder, name)))


def found(point: Point) -> tuple[Any, str]:
    """The module or class that holds the point's function, and its name there."""
    module, _, path = point.target.partition(":")
    *outer, attribute = path.split(".")
    owner = functools.reduce(getattr, outer, importlib.import_module(module))
    getattr(owner, attribute)
    return owner, attribute


def fire(folder: Path, name: str) -> None:
    """Act if the point is armed and nobody else was faster."""
    try:
        action, _, spare = (folder / name).read_text().partition(" ")
        if spare == str(os.getpid()):
            return
        (folder / name).rename(folder / f"{name}.{os.getpid()}.part")
    except FileNotFoundError:
        return
    (folder / f"{name}.{os.getpid()}.part").write_text(str(os.getpid()))
    (folder / f"{name}.{os.getpid()}.part").rename(folder / f"{name}.fired")
    if action == "raise":
        raise OSError(f"failpoint {name}")
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}[action])


def _wrapped(original: Callable[..., Any], point: Point, act: Callable[[], None]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def woven_async(*given: Any, **named: Any) -> Any:
            if point.moment == "before" and point.when(*given, **named):
                act()
            result = await original(*given, **named)
            if point.moment == "after" and point.when(*given, **named):
                act()
            return result

        return woven_async

    @functools.wraps(original)
    def woven(*given: Any, **named: Any) -> Any:
        if point.moment == "before" and point.when(*given, **named):
            act()
        result = original(*given, **named)
        if point.moment == "after" and point.when(*given, **named):
            act()
        return result

    return woven


def forget_second_schema() -> None:
    """Refuse what a predictor of the time before wire.frames.SCHEMA_ENCODINGS refuses, in its words."""
    decode = frames.decode_batch

    @functools.wraps(decode)
    def decode_first(body: bytes) -> tuple[frames.BatchHeader, list[memoryview]]:
        header, blobs = decode(body)
        if header.schema != frames.SCHEMA:
            raise errors.MalformedBody(f"frame schema {header.schema} is not {frames.SCHEMA}")
        return header, blobs

    frames.decode_batch = decode_first


def repeat_answers(switch: Path) -> None:
    """Send every answer of an RPC three times while the file ``switch`` is there."""
    from wire.requests import Request

    owner: Any = Request
    post = owner._post_reply

    @functools.wraps(post)
    def repeated(request: Request, body: bytes, kind: str) -> None:
        for _ in range(3 if _noted(switch, kind) else 1):
            post(request, body, kind)

    owner._post_reply = repeated


def _noted(switch: Path, kind: str) -> bool:
    """Whether the file is there; the answer is a line of it then."""
    try:
        file = os.open(switch, os.O_WRONLY | os.O_APPEND)
    except FileNotFoundError:
        return False
    try:
        os.write(file, f"{kind}\n".encode())
    finally:
        os.close(file)
    return True


def take_quick_child() -> None:
    """Let models named ``quick-…`` be made without a fit: a thousand jobs in minutes (quick_child)."""
    from tests.faults import quick_child
    from trainer.service import TrainerService
    from trainer.training import CHILD_MODULE

    given = TrainerService.__init__.__defaults__ or ()
    assert CHILD_MODULE in given, "the trainer's child is started in another way"
    TrainerService.__init__.__defaults__ = tuple(quick_child.MODULE if one == CHILD_MODULE else one for one in given)


if __name__ == "__main__":
    main(*sys.argv[1:4])
