"""What the one-shot services and health checks of the Compose stack do, each by itself."""

import http.server
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from deploy.compose import healthy, ledger_database, secret_volumes
from model_store import signing
from tests.postgres import SUPERUSER, Postgres
from tests.source_tree import CHECKOUT
from wire import provision

SERVICES = ("api", "worker", "trainer", "predictor", "rabbitmq", "postgres")


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    for name in SERVICES:
        (tmp_path / name).mkdir()
    secret_volumes.fill(tmp_path)
    return tmp_path


def test_every_service_finds_its_own_secrets_and_no_others(volumes: Path) -> None:
    found = {name: {file.name for file in (volumes / name).iterdir()} for name in SERVICES}
    assert found == {
        "api": {"broker.password", "ledger.password"},
        "worker": {"broker.password", "ledger.password"},
        "trainer": {"broker.password", "signing.key", "signing.pub"},
        "predictor": {"broker.password", "signing.pub"},
        "rabbitmq": {"definitions.json"},
        "postgres": {"administrator.password", "ledger.password"},
    }
    passwords = {(volumes / name / "broker.password").read_text() for name in ("api", "worker", "trainer", "predictor")}
    assert len(passwords) == 4
    assert all(password not in (volumes / "rabbitmq" / "definitions.json").read_text() for password in passwords)


def test_a_second_start_changes_no_secret_and_mends_what_is_missing(volumes: Path) -> None:
    before = {file: file.read_bytes() for file in volumes.rglob("*") if file.is_file()}
    (volumes / "predictor" / "signing.pub").unlink()
    (volumes / "worker" / "ledger.password").write_text("old")
    secret_volumes.fill(volumes)
    assert {file: file.read_bytes() for file in volumes.rglob("*") if file.is_file()} == before
    signer = signing.Signer(volumes / "trainer" / "signing.key")
    signing.Verifier(volumes / "predictor" / "signing.pub").check(b"x", signer.sign(b"x"))


def test_a_password_that_is_made_anew_reaches_the_broker(volumes: Path) -> None:
    (volumes / "api" / "broker.password").unlink()
    secret_volumes.fill(volumes)
    for user in json.loads((volumes / "rabbitmq" / "definitions.json").read_text())["users"]:
        assert provision.fits(user["password_hash"], (volumes / user["name"] / "broker.password").read_text())


def test_the_one_shot_service_says_when_the_definitions_were_written(
    volumes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(secret_volumes, "FOLDER", volumes)
    os.utime(volumes / "rabbitmq" / "definitions.json", (5, 5))
    assert secret_volumes.main() == 0
    assert capsys.readouterr().out == "definitions.json 5\n"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.stop()


def test_the_ledgers_owner_owns_its_database_and_nothing_else(postgres: Postgres) -> None:
    administrator = conninfo.make_conninfo(host=str(postgres.home), user=SUPERUSER, dbname="postgres")
    ledger_database.prepare(administrator, "owner", "first")
    ledger_database.prepare(administrator, "owner", "it's changed")
    with psycopg.connect(host=str(postgres.home), user="owner", dbname="owner", autocommit=True) as connection:
        connection.execute("CREATE TABLE jobs (id int)")
        for forbidden in ("CREATE ROLE other", "CREATE DATABASE other", "COPY jobs TO PROGRAM 'true'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)


class Probe(http.server.BaseHTTPRequestHandler):
    """Answers as the class says."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"no predictor is running")

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_container_is_healthy_only_while_its_process_says_ready(capsys: pytest.CaptureFixture[str]) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Probe) as server:
        port = str(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        assert healthy.main(port) == 0
        Probe.status = 503
        assert healthy.main(port) == 1
        assert "no predictor is running" in capsys.readouterr().err
        server.shutdown()
        thread.join(5)
    assert healthy.main(port) == 1, "nobody listens any more"


def test_images_of_ours_are_asked_for_nowhere() -> None:
    """Whoever has their names at a registry would be given every secret."""
    file = (CHECKOUT / "docker-compose.yml").read_text()
    ours = re.findall(r"^    image: warren/.*\n(.*)\n", file, re.MULTILINE)
    assert len(ours) > 6
    assert {*ours} == {"    pull_policy: never"}
