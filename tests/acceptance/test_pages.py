"""The commands that README and the operations page print, run as a reader would run them."""

import os
import re
import subprocess
from pathlib import Path

from tests.acceptance.stack import Client, Stack
from tests.source_tree import CHECKOUT

README = (CHECKOUT / "README.md").read_text()
OPERATIONS = (CHECKOUT / "docs" / "operations.md").read_text()


def blocks(text: str, heading: str) -> list[str]:
    """The shell blocks of one section, in order."""
    section = re.split(r"^## ", text.split(f"\n## {heading}", 1)[1], flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)


def run(stack: Stack, script: str) -> str:
    """What a shell prints for a script, in the checkout, with the page's address replaced by the stack's."""
    # Where keys are needed, the reader would add this header to every command.
    keyed = f'curl() {{ command curl -H "Authorization: Bearer {stack.key}" "$@"; }}\n' if stack.key else ""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", keyed + script.replace("http://127.0.0.1:8080", stack.url)],
        cwd=CHECKOUT,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_five_minutes_of_the_readme_work_as_printed(stack: Stack, client: Client) -> None:
    steps = blocks(README, "Five minutes")
    assert len(steps) >= 6
    said = run(stack, "\n".join(steps))
    assert "urn:warren:problem" not in said
    assert '"predictions":[' in said
    assert said.count("event: succeeded") == 2
    assert client.call("GET", "/models/churn", 200)["versions"][0]["version"] >= 2


def test_the_three_commands_that_up_prints_work(stack: Stack) -> None:
    commands = [line.strip() for line in stack.up().splitlines() if line.strip().startswith("curl ")]
    assert len(commands) == 3
    trained = run(stack, commands[0])
    job_id = re.search(r'"job_id":"(\w+)"', trained)
    assert job_id is not None
    with Client(stack.url) as client:
        assert client.finished(job_id[1])["status"] == "succeeded"
    assert '"versions":[' in run(stack, commands[1])
    assert '"predictions":["' in run(stack, commands[2])


def test_the_backup_of_the_operations_page_holds_every_job(stack: Stack, client: Client, tmp_path: Path) -> None:
    client.trained(model="saved", dataset={"sample": "iris"}, target="target", estimator="GaussianNB")
    (script,) = blocks(OPERATIONS, "Backup and restore")
    home = stack.layout.home
    moved = (
        script.replace("var/", f"{home}/").replace("backup", f"{tmp_path}/backup").replace("models", f"{home}/models")
    )
    run(stack, moved)
    query = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('select count(*) from jobs').fetchone())"
    counted = run(stack, f'.venv/bin/python -c "{query}" {tmp_path}/backup/ledger.sqlite3')
    assert int(counted) == len(client.call("GET", "/jobs?limit=200", 200)["jobs"])
