"""Whether the model volume lies on another machine, where a new name may be seen late.

Read once at start by the service; decides how long a version that is not there is looked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")
"""Linux's list of what is mounted where (proc(5))."""

_REMOTE = ("nfs", "cifs", "smb", "fuse", "9p", "ceph", "gluster", "lustre", "afs", "beegfs")


def is_remote(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Whether the file system of ``folder`` belongs to another machine; False when that is not known."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    target = folder.resolve()
    best, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        place = _unescaped(before.split(" ")[4])
        # Of mounts on the same point the last one counts.
        if target.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), after.split(" ")[0]
    return kind.startswith(_REMOTE)


def _unescaped(text: str) -> Path:
    for code in ("040", "011", "012", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return Path(text)
