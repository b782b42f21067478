"""Which code a process runs: told in a diagnosis, so that two that differ are seen.

Beside every process. The digest is of the package that all processes share, and is taken when it is
loaded: files that change afterwards run nowhere yet.
"""

from __future__ import annotations

import hashlib
import platform
import time
from importlib import metadata
from pathlib import Path

from wire import messages

_DIGEST_CHARS = 10


def digest_of(folder: Path) -> str:
    """The first hexadecimal digits of the SHA-256 over a folder's Python files, by name."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:_DIGEST_CHARS]


BUILD = digest_of(Path(__file__).parent)
"""The code that this process runs, as far as all processes share it."""


def libraries(*names: str) -> dict[str, str]:
    """The versions of Python and of installed packages; one that is not there is left out."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def examined(process: str, volume: messages.VolumeState, *names: str) -> messages.Examined:
    """What a process tells about itself now; ``names`` are the packages whose versions matter."""
    return messages.Examined(
        process=process,
        at_ms=time.time_ns() // 1_000_000,
        build=BUILD,
        volume=volume,
        libraries=libraries(*names),
    )
