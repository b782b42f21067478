"""The file of measurements: one JSON object a line, appended as they are made, read back to go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Measurement = dict[str, Any]


class File:
    """Lines of four kinds, told apart by a key: a block's measurements, memory, the machine, a run's time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def forget(self) -> None:
        """Begin anew."""
        self._path.unlink(missing_ok=True)

    def add(self, line: Measurement) -> None:
        """Append one line."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as out:
            out.write(json.dumps(line) + "\n")

    def blocks(self) -> dict[str, list[Measurement]]:
        """The good measurements of each block in turn order."""
        return {key: [turn for turn in turns if "failed" not in turn] for key, turns in self._last_blocks().items()}

    def complete(self) -> set[str]:
        """The blocks in which no server failed; the others are run again."""
        return {key for key, turns in self._last_blocks().items() if not any("failed" in turn for turn in turns)}

    def failures(self) -> dict[str, str]:
        """Why a server is missing, by block and server."""
        found: dict[str, str] = {}
        for key, turns in self._last_blocks().items():
            found |= {f"{key}: {turn['server']}": turn["failed"] for turn in turns if "failed" in turn}
        return found

    def _last_blocks(self) -> dict[str, list[Measurement]]:
        return {line["block"]: line["turns"] for line in self._lines() if "block" in line}

    def memory(self) -> dict[str, dict[str, float]]:
        """MB by server and process; empty when not measured yet."""
        return self._last("memory") or {}

    def machine(self) -> dict[str, str]:
        """What it was measured on."""
        return (self._last("machine") or {}) | {"measured at": self._last("at") or ""}

    def minutes(self) -> float:
        """How long the runs took together."""
        return sum(float(line["run_s"]) for line in self._lines() if "run_s" in line) / 60

    def _last(self, key: str) -> Any:
        return next((line[key] for line in reversed(self._lines()) if key in line), None)

    def _lines(self) -> list[Measurement]:
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text().splitlines()]
