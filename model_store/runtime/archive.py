"""Looks at a skops file before anything in it is built: size bombs, lying arrays, foreign types.

A skops file is a zip archive of ``schema.json`` (a tree of nodes, each naming a loader, a
module and a class) and arrays in NumPy's format. Stands between the verified bytes and
``skops_file``, which builds objects only from what passed here.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from model_store import errors
from model_store.runtime import trusted

MAX_ENTRIES = 10_000
"""Most files in the archive."""

MAX_TOTAL_BYTES = 512 * 1024 * 1024
"""Most bytes of all files together, unpacked."""

_SCHEMA = "schema.json"


def check(data: bytes) -> None:
    """Look at every entry and every named type. Raises errors.Corrupt or errors.TooLarge."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_directory(entries, len(data))
            for entry in entries:
                if entry.filename != _SCHEMA:
                    _check_array(archive.read(entry))
            _check_schema(json.loads(archive.read(_SCHEMA)))
    except (errors.StoreError, MemoryError):
        raise
    except Exception as error:  # what somebody made up fails anywhere in zipfile, NumPy and json
        raise errors.Corrupt("the skops file cannot be read") from error


def _check_directory(entries: list[zipfile.ZipInfo], size_bytes: int) -> None:
    if len(entries) > MAX_ENTRIES:
        raise errors.TooLarge("the skops file has too many entries")
    total_bytes = sum(entry.file_size for entry in entries)
    if total_bytes > MAX_TOTAL_BYTES:
        raise errors.TooLarge("the skops file is too large unpacked")
    # We store without packing; entries that lie over each other unpack to more than there is as well.
    if total_bytes > size_bytes or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise errors.Corrupt("the skops file unpacks to more than it is")


def _check_schema(schema: Any) -> None:
    if schema.get("protocol") != trusted.PROTOCOL:
        raise errors.Corrupt("the skops file has another protocol than ours")
    if any(name not in trusted.NODES.get(loader, ()) for loader, name in named(schema)):
        raise errors.Corrupt("the skops file names a type that is not on our list")
    _count(schema, {})


def _count(node: Any, known: dict[Any, int]) -> int:
    """The values of a tree, where each object that is named again is written out again, as skops does.

    An object that is only pointed at would let a few lines unfold into more than any memory holds.
    """
    if isinstance(node, list):
        return 1 + sum(_count(each, known) for each in node)
    if not isinstance(node, dict):
        return 1
    count = 1 + sum(_count(each, known) for each in node.values())
    name = node.get("__id__")
    if name and known.setdefault(name, count) != count:
        raise errors.Corrupt("the skops file points at an object instead of having it")
    return count


def _check_array(content: bytes) -> None:
    """Refuse an array whose header promises another size than its bytes have, or that holds objects."""
    stream = io.BytesIO(content)
    major, _ = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    expected = dtype.itemsize
    for length in shape:
        expected *= length
    # NumPy makes room for items of no bytes, one byte each, however many the header promises.
    if dtype.hasobject or dtype.itemsize == 0 or expected != len(content) - stream.tell():
        raise errors.Corrupt("an array in the skops file is not what its header says")


def named(schema: Any) -> Iterator[tuple[str, str]]:
    """Every (loader, module.class) of the tree, without recursion."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            if "__loader__" in node:
                yield str(node["__loader__"]), f"{node['__module__']}.{node['__class__']}"
            waiting.extend(node.values())
