"""A whole stack that turns to TLS while it runs: what `make up` says works, and a renewed certificate is served."""

import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.native import commands
from deploy.native.layout import Layout
from tests import certificates
from tests.acceptance.stack import Stack
from tests.rabbit import wait_until
from tests.source_tree import CHECKOUT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def secured(folder: Path) -> Iterator[Stack]:
    certificate, key = certificates.make(folder, "localhost")
    stack = Stack.fresh()
    try:
        stack.up()
        before = stack.processes()
        stack.environment |= {"WARREN_TLS__CERTIFICATE_FILE": str(certificate), "WARREN_TLS__KEY_FILE": str(key)}
        stack.layout = Layout.from_environment(stack.environment)
        stack.up()
        assert {name: one.pid for name, one in stack.processes().items()} == {
            name: one.pid for name, one in before.items()
        }, "nobody but Nginx's workers is replaced"
        yield stack
    finally:
        stack.remove()


def shell(script: str, *, statuses: tuple[int, ...] = (0,)) -> Any:
    """The JSON that a script prints, in the checkout."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in statuses, done.stderr
    return json.loads(done.stdout)


def test_what_up_prints_works_over_tls(secured: Stack) -> None:
    said = secured.up()
    assert f"https://localhost:{secured.layout.port}" in said
    lines = [line.strip() for line in said.splitlines()]
    [trust] = [line for line in lines if line.startswith("export ")]
    [train, *_] = [line for line in lines if line.startswith("curl ")]
    [doctor] = [line for line in lines if line.startswith(".venv/bin/warren ")]
    assert shell(f"{trust}\n{train}")["job_id"]
    # A warning is about the disk or the load of whoever runs this.
    checks = shell(f"{trust}\n{doctor} --json", statuses=(0, 1))["checks"]
    assert {check["name"]: check["status"] for check in checks}["nginx"] == "ok"


def test_the_table_of_the_stack_is_as_without(secured: Stack) -> None:
    table, good = commands.status(secured.layout)
    assert good, table


def test_a_renewed_certificate_is_served_after_the_next_up_by_the_same_nginx(secured: Stack, folder: Path) -> None:
    def served() -> str:
        return ssl.get_server_certificate(("127.0.0.1", secured.layout.port), timeout=10)

    before, nginx = served(), secured.processes()["nginx"].pid
    certificate, _ = certificates.make(folder, "localhost")
    assert served() == before
    secured.up()
    wait_until(lambda: served().split() == certificate.read_text().split(), "the renewed certificate is served")
    assert secured.processes()["nginx"].pid == nginx
