"""The clients that the pages of the protocols print, on a real stack."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys

import pytest

from tests.acceptance.stack import Client, Stack
from tests.source_tree import CHECKOUT

PAGES = ["open-inference", "tf-serving", "mlflow"]


@pytest.fixture(scope="module")
def iris(stack: Stack) -> None:
    """The model that the pages ask."""
    with Client(stack.url, stack.key) as client, contextlib.suppress(AssertionError):
        client.call("GET", "/models/iris", 200)
        return
    with Client(stack.url, stack.key) as client:
        client.trained(model="iris", dataset={"sample": "iris"}, target="target")


@pytest.mark.parametrize("page", PAGES)
def test_the_clients_of_the_pages_work_as_printed(stack: Stack, iris: None, page: str) -> None:
    text = (CHECKOUT / "docs" / "protocols" / f"{page}.md").read_text()
    scripts = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert scripts
    for script in scripts:
        here = script.replace("127.0.0.1:8080", stack.url.removeprefix("http://"))
        here = here.replace("127.0.0.1:8081", stack.grpc)
        done = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, timeout=100, cwd=CHECKOUT)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    for script in re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        here = script.replace("http://127.0.0.1:8080", stack.url)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", here], capture_output=True, text=True, timeout=100)
        assert '"outputs":[' in done.stdout, done.stderr
