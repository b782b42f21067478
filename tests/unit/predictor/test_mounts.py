"""Whether a volume belongs to another machine is read from its mount."""

from __future__ import annotations

from pathlib import Path

import pytest

from predictor import mounts


@pytest.mark.parametrize(
    ("kind", "remote"), [("ext4", False), ("nfs4", True), ("fuse.sshfs", True), ("overlay", False)]
)
def test_a_volume_of_another_machine_is_known_by_its_mount(tmp_path: Path, kind: str, remote: bool) -> None:
    place = tmp_path / "my models"
    place.mkdir()
    listing = tmp_path / "mountinfo"
    escaped = str(place).replace(" ", "\\040")
    listing.write_text(
        f"22 1 8:1 / / rw shared:1 - nfs /dev/a rw\n23 22 8:2 / {tmp_path} rw - xfs /dev/b rw\n"
        f"24 23 0:5 / {escaped} rw,relatime shared:2 - {kind} server:/export rw\n"
    )
    assert mounts.is_remote(place, listing) is remote
    assert mounts.is_remote(tmp_path, listing) is False
    assert mounts.is_remote(place, tmp_path / "missing") is False
