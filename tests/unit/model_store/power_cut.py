"""What a power cut can leave of a publish: its system calls, recorded, and the disks that each prefix of them allows.

A model of a disk, after Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014): what was
not synced may be there or not, name by name and file by file. An fsync of a file makes its bytes
last, one of a folder its names; everything else is kept or lost as the disk pleases.
"""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_CALLS = "openat,open,creat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2"
_CALLS += ",link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir"
_LINE = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)(?:<(.*)>)?")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_MOST_DIRTY = 12
_FOLDER = re.compile(r"^\d+<([^>]*)>")


@dataclass(frozen=True)
class Call:
    """One change: ``what`` is create, write, sync, rename, link, symlink, unlink, mkdir or said (to standard output).

    ``other``: where a rename or link leads to, and what a symbolic link says.
    """

    what: str
    path: str
    other: str = ""
    data: bytes = b""


def record(command: Sequence[str], root: Path, cwd: Path) -> list[Call]:
    """The changes below ``root`` that the command makes, in order. Raises CalledProcessError, FileNotFoundError."""
    trace = root.parent / "trace"
    strace = ["strace", "-y", "-s", "10000000", "-o", str(trace), "-e", f"trace={_CALLS}"]
    subprocess.run([*strace, sys.executable, *command], check=True, cwd=cwd, capture_output=True, timeout=60)
    calls = [call for line in trace.read_text().splitlines() if (call := _parsed(line)) is not None]
    inside = f"{root}/"
    return [one for one in calls if one.what == "said" or one.path.startswith(inside) or one.path == str(root)]


def _parsed(line: str) -> Call | None:
    found = _LINE.match(line)
    if found is None or int(found[3]) < 0:
        return None
    name, arguments, opened = found[1], found[2], found[4] or ""
    texts = [ast.literal_eval(f'b"{text}"') for text in _TEXT.findall(arguments)]
    if name in ("openat", "open", "creat"):
        return Call("create", opened) if "O_CREAT" in arguments else None
    held = _FOLDER.match(arguments)
    if name in ("write", "pwrite64"):
        return Call("said", "", data=texts[0]) if arguments.startswith("1<") else Call("write", held[1], data=texts[0])  # type: ignore[index]
    if name in ("fsync", "fdatasync"):
        assert held is not None
        return Call("sync", held[1])
    if name in ("symlink", "symlinkat"):
        return Call("symlink", texts[1].decode(), texts[0].decode())
    simple = {"rename": "rename", "renameat": "rename", "renameat2": "rename", "link": "link", "linkat": "link"}
    if name in simple:
        return Call(simple[name], texts[0].decode(), texts[1].decode())
    return Call("mkdir" if name == "mkdir" else "unlink", texts[0].decode())


_Choice = tuple[int, str]
"""What a cut keeps or loses: a name in a folder (both by which object), or with no name a file's bytes."""


@dataclass
class _File:
    now: bytes = b""
    lasting: bytes = b""


@dataclass(frozen=True)
class _Link:
    says: str


@dataclass
class _Folder:
    now: dict[str, _File | _Link | _Folder] = field(default_factory=dict)
    lasting: dict[str, _File | _Link | _Folder] = field(default_factory=dict)


State = dict[str, bytes | str | None]
"""Path to content; a text is what a symbolic link says, None a folder."""


class Disk:
    """A disk that starts as a folder on the real one, synced, and takes calls."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = _loaded(root)

    def take(self, call: Call) -> None:
        if call.what == "said":
            return
        folder, name = self._place(call.path)
        if call.what == "create":
            folder.now.setdefault(name, _File())
        elif call.what == "mkdir":
            folder.now[name] = _Folder()
        elif call.what == "symlink":
            folder.now[name] = _Link(call.other)
        elif call.what == "write":
            file = folder.now[name]
            assert isinstance(file, _File)
            file.now += call.data
        elif call.what == "unlink":
            del folder.now[name]
        elif call.what == "sync":
            one = folder.now[name] if name else self._top
            assert not isinstance(one, _Link)
            self._sync(one)
        else:
            there, other = self._place(call.other)
            there.now[other] = folder.now[name]
            if call.what == "rename":
                del folder.now[name]

    def states(self) -> Iterator[State]:
        """Every disk the cut may leave: any choice of what was not synced is there, and the rest is lost."""
        dirty = self._dirty()
        assert len(dirty) <= _MOST_DIRTY, "too many choices to try each"
        seen = set()
        for chosen in itertools.product((False, True), repeat=len(dirty)):
            kept = frozenset(itertools.compress(dirty, chosen))
            state = dict(_tree(self._top, "", kept))
            whole = frozenset(state.items())
            if whole not in seen:
                seen.add(whole)
                yield state

    def _place(self, path: str) -> tuple[_Folder, str]:
        parts = Path(path).relative_to(self._root).parts
        folder = self._top
        for part in parts[:-1]:
            inner = folder.now[part]
            assert isinstance(inner, _Folder)
            folder = inner
        return folder, parts[-1] if parts else ""

    @staticmethod
    def _sync(one: _File | _Folder) -> None:
        one.lasting = one.now if isinstance(one, _File) else dict(one.now)

    def _dirty(self) -> list[_Choice]:
        found: dict[_Choice, None] = {}
        waiting: list[_File | _Link | _Folder] = [self._top]
        while waiting:
            one = waiting.pop()
            if isinstance(one, _Folder):
                names = sorted({*one.now, *one.lasting})
                found |= {(id(one), name): None for name in names if one.now.get(name) is not one.lasting.get(name)}
                waiting += [*one.now.values(), *one.lasting.values()]
            elif isinstance(one, _File) and one.now != one.lasting:
                found[id(one), ""] = None
        return list(found)


def _tree(folder: _Folder, prefix: str, kept: frozenset[_Choice]) -> Iterator[tuple[str, bytes | str | None]]:
    for name in sorted({*folder.now, *folder.lasting}):
        one = (folder.now if (id(folder), name) in kept else folder.lasting).get(name)
        path = f"{prefix}{name}"
        if isinstance(one, _File):
            yield path, one.now if (id(one), "") in kept else one.lasting
        elif isinstance(one, _Link):
            yield path, one.says
        elif one is not None:
            yield path, None
            yield from _tree(one, f"{path}/", kept)


def _loaded(path: Path) -> _Folder:
    folder = _Folder()
    for entry in path.iterdir():
        if entry.is_dir():
            folder.now[entry.name] = _loaded(entry)
        else:
            content = entry.read_bytes()
            folder.now[entry.name] = _File(content, content)
    folder.lasting = dict(folder.now)
    return folder


def write(state: State, folder: Path) -> None:
    """Make the real files of a state in an empty folder."""
    folder.mkdir()
    for path, content in state.items():
        if content is None:
            (folder / path).mkdir()
        elif isinstance(content, str):
            (folder / path).symlink_to(content)
        else:
            (folder / path).write_bytes(content)
