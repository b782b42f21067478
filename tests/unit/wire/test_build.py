"""Two processes of the same code say the same about it, and of another code something else."""

from __future__ import annotations

from pathlib import Path

from wire import build, messages


def test_the_digest_is_that_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    before = build.digest_of(tmp_path)
    (tmp_path / "notes.txt").write_text("not code")
    assert build.digest_of(tmp_path) == before
    (tmp_path / "a.py").write_text("x = 2\n")
    assert build.digest_of(tmp_path) != before
    assert build.digest_of(Path(build.__file__).parent) == build.BUILD


def test_a_process_tells_its_code_its_clock_and_its_libraries() -> None:
    volume = messages.VolumeState(readable=True, writable=True, free_bytes=1, size_bytes=2)
    told = build.examined("host-1", volume, "pika", "no-such-package")
    assert (told.process, told.build, told.volume) == ("host-1", build.BUILD, volume)
    assert told.libraries.keys() == {"python", "pika"}
    assert told.at_ms > 1_700_000_000_000
