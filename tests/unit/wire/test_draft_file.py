"""A file of a draft: it takes what is left of the draft's bytes, and none of the room that is kept free."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wire import errors
from wire.draft_file import KEPT_BYTES, DraftFile


def test_a_draft_takes_its_bytes_and_not_one_more(tmp_path: Path) -> None:
    (tmp_path / "rows.blocks").write_bytes(bytes(600))
    with DraftFile(tmp_path / "output.csv", 1000) as file:
        file.write(bytes(400))
        with pytest.raises(errors.BadInput) as refused:
            file.write(b"x")
    assert "1000 bytes" in refused.value.message
    assert refused.value.hint == "Carry fewer columns, or split the dataset."
    assert (tmp_path / "output.csv").stat().st_size == 400


def test_what_a_killed_trainer_left_half_made_takes_nothing_of_the_next_ones(tmp_path: Path) -> None:
    (tmp_path / "rows.blocks.111").write_bytes(bytes(600))
    with DraftFile(tmp_path / "rows.blocks.222", 1000) as file:
        file.write(bytes(1000))


@pytest.mark.parametrize(("size", "kept"), [(100 * KEPT_BYTES, KEPT_BYTES), (KEPT_BYTES, KEPT_BYTES // 10)])
def test_some_room_of_the_volume_is_left_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, kept: int
) -> None:
    real = os.statvfs(tmp_path)
    free = kept + 1000

    def seen(_descriptor: int) -> os.statvfs_result:
        return os.statvfs_result((1, 1, size, free, free, *real[5:]))

    monkeypatch.setattr(os, "fstatvfs", seen)
    with DraftFile(tmp_path / "output.csv", 10**6) as file:
        file.write(bytes(1000))
        with pytest.raises(errors.StorageFull):
            file.write(bytes(1001))
