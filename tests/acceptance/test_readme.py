"""The README's five minutes, command by command as they stand there, against a real stack."""

import json
import re
import subprocess

from tests.acceptance.stack import Client, Stack
from tests.source_tree import CHECKOUT

ADDRESS = "http://127.0.0.1:8080"


def commands() -> list[str]:
    """The shell blocks of the five minutes, in order."""
    text = (CHECKOUT / "README.md").read_text()
    section = text.split("## Five minutes", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def run(stack: Stack, script: str) -> str:
    """What a shell prints for the commands; it stops at the first one that fails."""
    shell = ["bash", "-euo", "pipefail", "-c", script.replace(ADDRESS, stack.url)]
    done = subprocess.run(shell, cwd=CHECKOUT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_five_minutes_of_the_readme_work_as_written(stack: Stack, client: Client) -> None:
    blocks = commands()
    assert len(blocks) >= 6
    said = run(stack, "\n".join(f"{block}\necho '@@@'" for block in blocks)).split("@@@\n")
    upload, _, _, events, prediction, again = said[:6]
    assert {column["name"] for column in json.loads(upload)["columns"]} >= {"age", "plan", "left"}
    assert "event: succeeded" in events
    answer = json.loads(prediction)
    assert answer["version"] == 1
    assert set(answer["predictions"]) <= {"yes", "no"}
    assert "event: succeeded" in again
    aliases = {alias["alias"]: alias for alias in client.call("GET", "/models/churn", 200)["aliases"]}
    assert (aliases["champion"]["version"], aliases["champion"]["previous"]) == (1, 2)


def test_the_address_in_the_readme_is_the_default_one() -> None:
    assert any(ADDRESS in block for block in commands())
