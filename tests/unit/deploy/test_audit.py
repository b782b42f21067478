"""What `make audit` says of pip-audit's reports; a database that knows nothing is never good news."""

import datetime
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from deploy import audit
from tests.source_tree import CHECKOUT

TODAY = datetime.date(2027, 1, 10)
WAIVER = audit.Waiver("CVE-2027-1", "jinja2", datetime.date(2027, 2, 1), "nothing here renders what callers send")
CLEAN = {"name": "httpx", "version": "0.28.1", "vulns": []}
BAD = {
    "name": "jinja2",
    "version": "3.1.6",
    "vulns": [{"id": "GHSA-1", "fix_versions": ["3.1.7"], "aliases": ["CVE-2027-1"], "description": "long"}],
}
UNKNOWN = {"name": "jinja2", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def report(*dependencies: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": [*dependencies], "fixes": []}


def test_packages_without_advisories_are_counted_with_the_day() -> None:
    assert audit.judge(report(CLEAN), [], TODAY) == ("1 packages, no known vulnerability (2027-01-10).", audit.CLEAN)


def test_an_advisory_is_told_with_all_its_names_and_what_mends_it() -> None:
    text, status = audit.judge(report(CLEAN, BAD), [], TODAY)
    assert status == audit.TO_MEND
    assert text.splitlines()[0] == "jinja2 3.1.6: GHSA-1, CVE-2027-1; mended in 3.1.7"
    assert "requirements/waived.toml" in text
    unmended = {**BAD, "vulns": [{"id": "GHSA-1", "fix_versions": [], "aliases": []}]}
    assert "no version is mended yet" in audit.judge(report(unmended), [], TODAY)[0]


def test_a_waived_advisory_passes_by_any_of_its_names_until_its_day() -> None:
    text, status = audit.judge(report(CLEAN, BAD), [WAIVER], TODAY)
    assert (text, status) == ("2 packages, no known vulnerability, 1 waived (2027-01-10).", audit.CLEAN)
    assert audit.judge(report(CLEAN, BAD), [WAIVER], WAIVER.until)[1] == audit.TO_MEND


def test_a_waiver_for_another_package_or_for_nothing_is_told() -> None:
    other = audit.Waiver("GHSA-1", "httpx", WAIVER.until, "another one's")
    text, status = audit.judge(report(CLEAN, BAD), [other], TODAY)
    assert status == audit.TO_MEND
    assert "jinja2 3.1.6" in text
    assert "waived for nothing: GHSA-1 of httpx" in text
    assert audit.judge(report(CLEAN), [WAIVER], TODAY)[1] == audit.TO_MEND


@pytest.mark.parametrize("dependencies", [[UNKNOWN], [CLEAN, UNKNOWN], [BAD, UNKNOWN], []])
def test_a_database_that_does_not_know_a_package_was_not_asked(dependencies: list[dict[str, Any]]) -> None:
    text, status = audit.judge(report(*dependencies), [], TODAY)
    assert status == audit.NOT_ASKED
    assert "could not be asked" in text
    assert "where the internet can be reached" in text
    assert ("GHSA-1" in text) is (BAD in dependencies), "what it does know is told all the same"


def a_program(folder: Path, script: str) -> Path:
    program = folder / "pip-audit"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_every_lock_file_is_asked_about_and_a_package_told_once(tmp_path: Path) -> None:
    answer = f"echo '{json.dumps(report(CLEAN, BAD))}' >{tmp_path}/out"
    program = a_program(tmp_path, f'echo "$@" >>{tmp_path}/asked; {answer}; exit 1')
    files = sorted((CHECKOUT / "requirements").glob("*.txt"))
    assert audit.ask_all(program, "osv", files, tmp_path / "out")[0] == {"dependencies": [CLEAN, BAD]}
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in asked] == [str(file) for file in files]
    assert "--vulnerability-service osv" in asked[0]


def test_a_program_that_could_not_ask_has_no_report_and_an_older_one_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "out").write_text(json.dumps(report(CLEAN)))
    program = a_program(tmp_path, "echo 'Traceback' >&2; echo 'ConnectionError: no such host' >&2; exit 1")
    said = (None, "dev.txt: ConnectionError: no such host")
    assert audit.ask_all(program, "pypi", [tmp_path / "dev.txt"], tmp_path / "out") == said


def test_what_the_checkout_waives_is_whole_and_not_over() -> None:
    text = (CHECKOUT / "requirements" / "waived.toml").read_text()
    audit.waivers(text)
    example = "\n".join(line.removeprefix("# ") for line in text.split("#\n", 1)[1].splitlines())
    [shown] = audit.waivers(example)
    assert (shown.package, shown.until) == ("example", datetime.date(2027, 1, 31))


@pytest.mark.parametrize("spoilt", ["reason = ''", "until = '2027-01-31'", "why = 'x'"])
def test_a_waiver_without_a_reason_or_a_day_is_refused(spoilt: str) -> None:
    given = {"id": "'GHSA-1'", "package": "'x'", "until": "2027-01-31", "reason": "'y'"}
    name, _, value = spoilt.partition(" = ")
    lines = "\n".join(f"{key} = {text}" for key, text in {**given, name: value}.items())
    with pytest.raises(ValueError, match="A waiver has id, package, reason, until"):
        audit.waivers(f"[[waived]]\n{lines}")
