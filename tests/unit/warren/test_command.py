"""The command line around the client: what it prints, for whom, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rabbit import wait_until
from tests.source_tree import CHECKOUT
from tests.unit.warren.conftest import Run
from tests.unit.warren.gateway import ACCEPTED, JOB, Answer, ScriptedGateway, ok, problem
from tests.unit.warren.served import MODEL, VERSION
from tests.unit.warren.told import ALIAS, DATASET, DONE, KEY, ended
from warren.version import VERSION as OWN_VERSION


def test_tables_for_people_and_json_for_programs(run: Run) -> None:
    models = {"models": [{"model": "m", "champion": 3, "versions": 2, "latest": 3}]}
    status, written, _ = run([ok(models)], "models")
    assert (status, written.split()) == (0, ["MODEL", "CHAMPION", "VERSIONS", "NEWEST", "m", "3", "2", "3"])
    for arguments in (["models", "--json"], ["--json", "models"]):
        assert json.loads(run([ok(models)], *arguments)[1]) == models
    assert "no models yet" in run([ok({"models": []})], "models")[1]


def test_versions_are_listed_and_shown(run: Run) -> None:
    _, written, _ = run([ok(MODEL)], "versions", "m")
    assert "0.9000 f1" in written
    assert "champion" in written
    _, written, _ = run([ok(VERSION)], "versions", "m", "3")
    assert ["age", "number"] in [line.split() for line in written.splitlines()]
    assert json.loads(run([ok(VERSION)], "versions", "m", "3", "--json")[1])["manifest"]["target"] == "left"
    bare = {**VERSION, "manifest": {"odd": 1}}
    assert '"odd": 1' in run([ok(bare)], "versions", "m", "3")[1]


def test_aliases_move_and_go(run: Run) -> None:
    assert "version 2, before that by 3" in run([ok(ALIAS)], "alias", "m", "champion", "2", "--if-now", "3")[1]
    assert "no alias shadow" in run([Answer(204, b"")], "alias", "m", "shadow", "--delete")[1]
    assert run([ok(ALIAS)], "alias", "m", "shadow")[0] == 2
    assert "version 2" in run([ok(ALIAS)], "rollback", "m")[1]


def test_deleting_asks_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run([Answer(204, b"")], "delete", "m", "3", "--yes")[1] == "Deleted version 3 of m.\n"
    assert json.loads(run([Answer(204, b"")], "delete", "m", "--yes", "--json")[1])["deleted"] is True
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _text: "n")
    assert run([problem(500, "internal_error")], "delete", "m")[0] == 130


def test_keys_are_made_listed_and_revoked(run: Run) -> None:
    made = {**KEY, "key": "wk_k3v09xqa_secret"}
    status, written, said = run(
        [ok(made, 201)], "keys", "create", "ann", "--scope", "predict", "--days", "3", "--rate", "2.5"
    )
    assert (status, written) == (0, "wk_k3v09xqa_secret\n")
    assert "Nobody can show it again" in said
    listed = run([ok({"keys": [KEY, {**KEY, "rate_per_s": 2.5}], "next_cursor": None})], "keys", "list")[1]
    assert [line.split()[:4] for line in listed.splitlines()[1:]] == [
        ["k3v09xqa", "ann", "predict", rate] for rate in ("any", "2.5/s")
    ]
    assert "revoked" in run([Answer(204, b"")], "keys", "revoke", "k3v09xqa")[1]


def test_an_error_of_a_file_is_told_as_others_are(run: Run, tmp_path: Path) -> None:
    script = [ok({**JOB, "status": "succeeded"}), Answer(200, b"prediction\n")]
    arguments = ["output", "a" * 32, "-o", str(tmp_path / "away" / "out.csv")]
    status, _, said = run(script, *arguments)
    assert (status, said) == (1, f"Error: {tmp_path}/away/out.csv.part: No such file or directory\n")
    status, _, said = run(script, "--json", *arguments)
    error = f"{tmp_path}/away/out.csv.part: No such file or directory"
    assert json.loads(said) == {"error": error, "exit": 1, "next": ""}


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "100001", "some"])
def test_a_rate_that_is_none_is_wrong_usage(run: Run, rate: str) -> None:
    assert run([problem(500, "internal_error")], "keys", "create", "ann", "--scope", "train", "--rate", rate)[0] == 2


def test_datasets_are_uploaded_listed_and_deleted(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("note\nx\n")
    _, written, _ = run([ok(DATASET, 201)], "datasets", "upload", str(file))
    assert "> 1000" in written
    unseen = {**DATASET, "rows": None, "columns": None}
    assert "not looked at yet" in run([ok(unseen, 201)], "datasets", "upload", str(file))[1]
    assert "d" * 32 in run([ok({"datasets": [DATASET, unseen], "next_cursor": None})], "datasets", "list")[1]
    short, rest = ({"datasets": [DATASET], "next_cursor": "next"} for _ in range(2))
    assert run([ok(short), ok(rest)], "datasets", "list", "--limit", "2")[1].count("d" * 32) == 2
    assert "Deleted" in run([Answer(204, b"")], "datasets", "delete", "d" * 32)[1]


def test_a_training_is_uploaded_watched_and_told(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("note,left\nx,yes\n")
    script = [ok(DATASET, 201), ACCEPTED, ended("succeeded", result=DONE)]
    status, written, said = run(
        script, "train", str(file), "--model", "m", "--target", "left", "--param", "n=3", "--param", "kind=a",
        "--search", '{"space": {"d": [1]}}', "--folds", "3", "--promote", "always",
    )  # fmt: skip
    assert status == 0
    assert "m, version 4: the champion. It is the first." in written
    assert "0.9000" in written
    assert "Dataset " in said


def test_a_training_that_fails_says_why_and_ends_so(run: Run) -> None:
    error = {"code": "training_failed", "message": "One class only."}
    script = [ACCEPTED, ended("failed", error=error)]
    status, written, said = run(script, "train", "--sample", "iris", "--model", "m")
    assert (status, written) == (1, "")
    assert "One class only. (training_failed)" in said
    status, written, _ = run(
        [ACCEPTED, ended("failed", error=error)], "train", "--sample", "iris", "--model", "m", "--json"
    )
    assert (status, json.loads(written)["error"]["code"]) == (1, "training_failed")


def test_a_training_can_be_left_alone(run: Run) -> None:
    status, written, _ = run([ACCEPTED], "train", "--dataset", "d" * 32, "--model", "m", "--target", "t", "--detach")
    assert (status, written) == (0, "a" * 32 + "\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--model", "m"],
        ["train", "--model", "m", "--sample", "iris", "--dataset", "x"],
        ["train", "--model", "m", "--sample", "iris", "--param", "n"],
        ["train", "--model", "m", "--sample", "iris", "--search", "[]"],
        ["versions", "m", "zero"],
        ["no-such-command"],
        ["predict", "m", "no-such-file.csv"],
    ],
)
def test_wrong_usage_is_2(run: Run, arguments: list[str]) -> None:
    assert run([ACCEPTED], *arguments)[0] == 2


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (problem(404, "model_not_found"), 3, "warren models"),
        (problem(401, "unauthenticated"), 4, "WARREN_API_KEY"),
        (problem(403, "forbidden"), 4, "--scope"),
        (problem(503, "unroutable"), 5, "warren doctor"),
        (problem(500, "internal_error"), 6, "request id: req-1"),
        (Answer(200, b"<html>"), 6, "Is the address that of a Warren gateway"),
        (problem(422, "bad_input", errors=[{"at": "x", "problem": "is odd"}], hint="Do this."), 3, "  x: is odd"),
    ],
)
def test_errors_say_the_next_step_and_have_a_status_of_their_own(
    run: Run, answer: Answer, status: int, said: str
) -> None:
    ended_as, written, told = run([answer], "models")
    assert (ended_as, written) == (status, "")
    assert said in told
    ended_as, written, told = run([answer], "models", "--json")
    assert (ended_as, written) == (status, "")
    assert json.loads(told)["exit"] == status


def test_jobs_are_listed_watched_and_cancelled(run: Run) -> None:
    assert "running" in run([ok({"jobs": [JOB], "next_cursor": None})], "jobs", "m", "--status", "running")[1]
    short, rest = ({"jobs": [JOB], "next_cursor": "next"} for _ in range(2))
    assert run([ok(short), ok(rest)], "jobs", "--limit", "2")[1].count("running") == 2
    script = [ok(JOB), ended("cancelled")]
    status, _, said = run(script, "watch", "a" * 32)
    assert (status, "cancelled" in said) == (1, True)
    script = [ok(JOB), ended("succeeded"), ok({**JOB, "status": "succeeded"})]
    status, written, _ = run(script, "watch", "a" * 32, "--json")
    assert (status, json.loads(written)["event"]) == (0, "succeeded")
    assert "is being stopped" in run([ok(JOB), ok(JOB, 202)], "cancel", "a" * 32)[1]
    assert "has ended: cancelled" in run([ok(JOB), ok({**JOB, "status": "cancelled"})], "cancel", "a" * 32)[1]
    other = ok({**JOB, "kind": "predict", "status": "succeeded", "version": 3, "result": {"rows": 9, "refused": 2}})
    assert "9 rows predicted by m, version 3, 2 of them refused." in run([other], "watch", "a" * 32)[1]


def test_an_upload_is_predicted_at_the_gateway_and_its_output_fetched(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    result = {"model": "m", "version": 3, "rows": 9, "refused": 0}
    done = ok({**JOB, "kind": "predict", "status": "succeeded", "version": 3, "result": result})
    content = Answer(200, b"prediction\nyes\n", {"content-type": "text/csv"})
    script = [ACCEPTED, ended("succeeded", result=result), content]
    ask = ["predict", "m", "--dataset", "d" * 32, "-o", str(out)]
    status, written, said = run(script, *ask, "--version", "3", "--probabilities")
    assert (status, out.read_bytes()) == (0, b"prediction\nyes\n")
    assert "9 rows predicted by m, version 3." in written
    assert f"Wrote {out}" in said
    assert run([ACCEPTED], "predict", "m", "--dataset", "d" * 32, "--detach")[1] == "a" * 32 + "\n"
    out.unlink()
    refused = ok({**JOB, "kind": "predict", "status": "succeeded", "result": {**result, "refused": 1}})
    assert run([refused, content], "output", "a" * 32, "-o", str(out))[0] == 1
    assert run([done, problem(409, "conflict")], "output", "a" * 32, "-o", str(out))[0] == 3
    assert out.read_bytes() == b"prediction\nyes\n"
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]
    for usage in (["output", "x"], ["predict", "m", "--dataset", "x"], ["predict", "m", __file__, "--dataset", "x"]):
        assert run([ACCEPTED], *usage)[0] == 2


def test_every_command_has_help(run: Run) -> None:
    status, written, _ = run([ACCEPTED], "--help")
    assert status == 0
    names = [line.split()[0] for line in written.partition("Commands:")[2].splitlines() if line.startswith("  ")]
    commands = [name for name in names if name.islower() and name.isalpha()]
    for name in {"train", "predict", "doctor", "keys"} & {*commands}:
        assert "--json" in run([ACCEPTED], name, "--help")[1] or name == "keys"
    assert run([ACCEPTED], "--version")[1] == f"warren, version {OWN_VERSION}\n"
    assert f'version = "{OWN_VERSION}"' in (CHECKOUT / "pyproject.toml").read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(run: Run, shell: str) -> None:
    status, written, _ = run([ACCEPTED], "completion", shell)
    assert status == 0
    assert "_WARREN_COMPLETE" in written


def test_completion_asks_the_gateway_for_names() -> None:
    models = {"models": [{"model": name, "champion": 1, "versions": 1, "latest": 1} for name in ("churn", "iris")]}
    with ScriptedGateway(ok(models)) as gateway:
        environment = {
            **os.environ,
            "WARREN_URL": gateway.url,
            "_WARREN_COMPLETE": "bash_complete",
            "COMP_WORDS": "warren rollback ch",
            "COMP_CWORD": "2",
        }
        done = subprocess.run(
            [sys.executable, "-m", "warren"], env=environment, cwd=CHECKOUT, capture_output=True, text=True, timeout=60
        )
    assert done.stdout.split() == ["plain,churn"], done.stderr


def test_ctrl_c_leaves_the_training_running_and_says_how_to_watch_it() -> None:
    with ScriptedGateway(ACCEPTED, Answer(late_s=60)) as gateway:
        command = [sys.executable, "-m", "warren", "train", "--sample", "iris", "--model", "m", "--url", gateway.url]
        process = subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(gateway.asked) == 2, "the job is watched", 30)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert f"warren watch {'a' * 32}" in said
        assert [asked.path for asked in gateway.asked] == ["/train", f"/jobs/{'a' * 32}/events"]


def test_a_reader_that_has_enough_is_no_error() -> None:
    models = {"models": [{"model": f"m{n}", "champion": 1, "versions": 1, "latest": 1} for n in range(20_000)]}
    with ScriptedGateway(ok(models)) as gateway:
        script = f"{sys.executable} -m warren models --url {gateway.url} | head -n 1; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
