"""A private PostgreSQL server for tests: Debian's binaries, a folder of its own, no TCP port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import psycopg

SUPERUSER = "warren"


def _binary(name: str) -> str:
    candidates = [*Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), *filter(None, [shutil.which(name)])]
    if not candidates:
        raise AssertionError(f"{name} is missing: install the package postgresql (Debian)")
    return str(candidates[0])


class Postgres:
    """One server; every test gets a database of its own."""

    def __init__(self) -> None:
        # Not below pytest's own folder: that is closed to the user the server runs as.
        self.home = Path(tempfile.mkdtemp(prefix="warren-pg-"))
        # PostgreSQL refuses to run as root.
        self._as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        if self._as_user:
            shutil.chown(self.home, "nobody", "nogroup")

    def start(self) -> None:
        data = self.home / "data"
        self._run(_binary("initdb"), "-D", str(data), "-U", SUPERUSER, "--auth=trust", "-N", "-E", "UTF8")
        options = f"-c listen_addresses='' -k {self.home} -c fsync=off -c max_connections=60"
        self._run(_binary("pg_ctl"), "-D", str(data), "-o", options, "-l", str(self.home / "log"), "-w", "start")

    def stop(self) -> None:
        try:
            self._run(_binary("pg_ctl"), "-D", str(self.home / "data"), "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self.home, ignore_errors=True)

    def fresh_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(host=str(self.home), user=SUPERUSER, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://{SUPERUSER}@/{name}?host={self.home}"

    def _run(self, *command: str) -> None:
        done = subprocess.run([*self._as_user, *command], capture_output=True, text=True, timeout=60, cwd="/")
        assert done.returncode == 0, done.stderr + done.stdout
