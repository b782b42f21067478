"""The doctor: what it finds, and that it tells so whatever is away."""

from __future__ import annotations

import json

import pytest

from tests.unit.warren.conftest import Run
from tests.unit.warren.gateway import Answer, Script, ok, problem
from warren.command import main

AWAY = problem(502, "replica_unavailable")


def test_the_doctor_tells_what_to_mend(run: Run) -> None:
    checks = [
        {"name": "broker", "status": "ok", "detail": "is connected"},
        {"name": "workers", "status": "failed", "detail": "nobody", "mend": "Start a worker."},
    ]
    found = ok({"status": "failed", "at": "2026-11-22T10:00:00Z", "checks": checks, "versions": {}})
    status, written, _ = run([ok({}), found], "doctor")
    assert status == 1
    assert "-> Start a worker." in written
    status, written, _ = run([ok({}, date="Thu, 01 Jan 1970 00:00:00 GMT"), found], "doctor", "--json")
    assert json.loads(written)["status"] == "failed"


def test_the_doctor_without_an_admins_key_sees_what_is_missing(run: Run) -> None:
    missing = ok({"status": "not ready", "reasons": {"workers": "no Celery worker is running"}}, 503)
    status, written, _ = run([ok({}), problem(403, "forbidden"), missing], "doctor")
    assert (status, "no Celery worker" in written) == (1, True)
    refused = problem(403, "forbidden", hint="Name the host in WARREN_API__HOSTS.")
    assert "WARREN_API__HOSTS" in run([ok({}), refused, ok({"status": "ready"})], "doctor")[1]
    status, written, _ = run([ok({}), problem(404, "not_found"), ok({"status": "ready"})], "doctor")
    assert (status, "every part is there" in written) == (0, True)


def test_the_doctor_names_a_gateway_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--url", "http://127.0.0.1:1"]) == 1
    assert "FAILED" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("script", "failed"),
    [
        ([AWAY], ["gateway", "ready"]),
        (
            [problem(500, "internal_error"), ok({"status": "not ready", "reasons": {"broker": "away"}}, 503)],
            ["gateway", "broker"],
        ),
        ([ok({}), problem(503, "unroutable"), ok({"status": "ready"})], ["diagnosis"]),
        ([ok({}), problem(429, "rate_limited"), problem(429, "rate_limited")], ["diagnosis", "ready"]),
        ([ok({}), AWAY, Answer(cut=0)], ["diagnosis", "ready"]),
        ([ok({}), Answer(200, b"<html>"), problem(503, "no_room")], ["diagnosis", "ready"]),
    ],
    ids=["no replica", "a replica with a defect", "refused", "over the rate", "away since", "something else"],
)
def test_the_doctor_tells_what_it_found_also_when_it_is_refused(
    run: Run, script: list[Script], failed: list[str]
) -> None:
    status, written, said = run(script, "doctor", "--json")
    assert (status, said) == (1, "")
    found = [check for check in json.loads(written)["checks"] if check["status"] == "failed"]
    assert [check["name"] for check in found] == failed
    assert all(check["detail"] and check["mend"] for check in found)
    status, written, said = run(script, "doctor")
    assert (status, said) == (1, "")
    assert written.count("FAILED") == len(failed)


def test_a_wrong_address_is_no_finding_but_wrong_usage() -> None:
    assert main(["doctor", "--url", "nothing"]) == 2
