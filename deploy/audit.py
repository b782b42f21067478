"""Which pinned packages have known vulnerabilities: what `make audit` asks.

In come the lock files, what is waived (requirements/waived.toml), and a database of advisories, asked by pip-audit in
an environment of its own; out go a report and an exit status: 0 clean, 1 something to mend, 2 nobody could be asked.
pip-audit by itself counts a package that its database does not know as clean; here that is 2.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

_CHECKOUT = Path(__file__).parents[1]
_REQUIREMENTS = _CHECKOUT / "requirements"
_TIMEOUT_S = 900
SERVICES = ("pypi", "osv")
"""The databases that can be asked."""
CLEAN, TO_MEND, NOT_ASKED = 0, 1, 2
"""The exit statuses."""


@dataclass(frozen=True)
class Waiver:
    """An advisory that may pass for a package, for a reason, through the day before ``until``."""

    id: str
    package: str
    until: datetime.date
    reason: str


@dataclass(frozen=True)
class Finding:
    """A pinned version that an advisory names; ``ids`` are all names of that advisory."""

    package: str
    version: str
    ids: tuple[str, ...]
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        """A line for people."""
        mended = f"mended in {', '.join(self.fixed)}" if self.fixed else "no version is mended yet"
        return f"{self.package} {self.version}: {', '.join(self.ids)}; {mended}"


def waivers(text: str) -> list[Waiver]:
    """What a file in the form of requirements/waived.toml lets pass. Raises ValueError for one that is not whole."""
    entries = tomllib.loads(text).get("waived", [])
    names = {field.name for field in fields(Waiver)}
    for entry in entries:
        if entry.keys() != names or not all(entry.values()) or type(entry["until"]) is not datetime.date:
            raise ValueError(f"A waiver has {', '.join(sorted(names))}, all of them, and a day as `until`: {entry}")
    return [Waiver(**entry) for entry in entries]


def judge(report: Mapping[str, Any], waived: Sequence[Waiver], today: datetime.date) -> tuple[str, int]:
    """What pip-audit's report (JSON) means: a text and the exit status."""
    dependencies = report["dependencies"]
    found = [finding for one in dependencies for finding in _findings(one)]
    used = [(finding, one) for finding in found for one in waived if _covers(one, finding)]
    passed = {finding for finding, one in used if today < one.until}
    idle = {*waived} - {one for _, one in used}
    lines = [str(finding) for finding in found if finding not in passed]
    unknown = [one["name"] for one in dependencies if "vulns" not in one]
    if unknown or not dependencies:
        text, status = _not_asked(f"{len(unknown)} of {len(dependencies)} packages are unknown to it: {unknown[:3]} …")
        return "\n".join([*lines, text]), status
    lines += sorted(f"waived for nothing: {one.id} of {one.package}" for one in idle)
    if lines:
        todo = "Raise the version in pyproject.toml and run `make lock`, or waive it in requirements/waived.toml."
        return "\n".join([*lines, todo]), TO_MEND
    also = f", {len(passed)} waived" if passed else ""
    return f"{len(dependencies)} packages, no known vulnerability{also} ({today}).", CLEAN


def _covers(waiver: Waiver, finding: Finding) -> bool:
    return waiver.package == finding.package and waiver.id in finding.ids


def _findings(dependency: Mapping[str, Any]) -> list[Finding]:
    return [
        Finding(
            dependency["name"],
            dependency["version"],
            (one["id"], *sorted(one["aliases"])),
            tuple(one["fix_versions"]),
        )
        for one in dependency.get("vulns", [])
    ]


def _not_asked(why: str) -> tuple[str, int]:
    text = (
        f"Nothing is known about the pinned packages: the database could not be asked ({why}).\n"
        "Run this where the internet can be reached; `make audit args='--service osv'` asks the other database."
    )
    return text, NOT_ASKED


def ask(program: Path, service: str, file: Path, into: Path) -> tuple[Mapping[str, Any] | None, str]:
    """pip-audit's report on all pins of a lock file, or nothing, and its last word."""
    command = [str(program), "--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    into.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [*command, "--vulnerability-service", service, "--output", str(into), "-r", str(file)],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer in {_TIMEOUT_S} s"
    # With findings its status is 1 as well, so the report alone tells whether it could ask.
    last = (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
    return (json.loads(into.read_text()) if into.exists() else None), last


def ask_all(program: Path, service: str, files: Sequence[Path], into: Path) -> tuple[Mapping[str, Any] | None, str]:
    """The same on several files, each version once; one by one, as pip-audit takes no package in two versions."""
    seen: dict[tuple[str, str], Any] = {}
    for file in files:
        report, last = ask(program, service, file, into)
        if report is None:
            return None, f"{file.name}: {last}"
        seen |= {(one["name"], one.get("version", "")): one for one in report["dependencies"]}
    return {"dependencies": [*seen.values()]}, ""


def install(home: Path) -> Path:
    """pip-audit, as requirements/audit.txt has it. Raises subprocess.CalledProcessError."""
    pins = _REQUIREMENTS / "audit.txt"
    stamp, wanted = home / "installed", hashlib.sha256(pins.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(home, clear=True, with_pip=True)
        options = ["-q", "--disable-pip-version-check", "--no-input", "--require-hashes", "--only-binary", ":all:"]
        command = [str(home / "bin" / "python"), "-m", "pip", "install", *options, "--no-deps", "-r", str(pins)]
        subprocess.run(command, check=True, timeout=_TIMEOUT_S)
        stamp.write_text(wanted)
    return home / "bin" / "pip-audit"


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask about every lock file and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m deploy.audit", description=__doc__)
    parser.add_argument("--service", choices=SERVICES, default=SERVICES[0], help="whom to ask")
    given = parser.parse_args(arguments)
    home = _CHECKOUT / "var" / "audit"
    waived = waivers((_REQUIREMENTS / "waived.toml").read_text())
    try:
        program = install(home)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        sys.stderr.write("pip-audit could not be installed; see above. A package index must be reachable.\n")
        return NOT_ASKED
    report, last = ask_all(program, given.service, sorted(_REQUIREMENTS.glob("*.txt")), home / "report.json")
    today = datetime.datetime.now(datetime.UTC).date()
    text, status = judge(report, waived, today) if report is not None else _not_asked(last)
    (sys.stderr if status else sys.stdout).write(text + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
