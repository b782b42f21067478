"""The acceptance tests, which run against ``make up``'s stack elsewhere, against this one."""

import os
import subprocess
import sys

from tests.compose.containers import Compose
from tests.source_tree import CHECKOUT

FILES = ("tests/acceptance/test_journey.py", "tests/acceptance/test_pages.py")
NATIVE_ONLY = "not three_commands_that_up_prints and not backup_of_the_operations_page"


def test_the_acceptance_tests_pass_against_containers(compose: Compose, key: str) -> None:
    switch = {"WARREN_TEST_URL": compose.url, "WARREN_TEST_KEY": key}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES, "-k", NATIVE_ONLY]
    done = subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, **switch}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-6000:]
