"""Where the native stack keeps what runs and what it remembers.

In come the checkout and three variables, ``WARREN_HOME``, ``WARREN_PORT`` and ``WARREN_LISTEN``; out
goes every path that the other modules of this package use. Without ``WARREN_HOME`` the models live in
the checkout's ``models/`` and everything else in its ``var/``; with it, all of it lives there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
"""The folder that holds the project's packages."""

DEFAULT_PORT = 8080
"""Nginx's port when ``WARREN_PORT`` names none."""

DEFAULT_LISTEN = "127.0.0.1"
"""The address Nginx listens on when ``WARREN_LISTEN`` names none: this machine only."""

_MAX_SOCKET_PATH = 100
_PLAIN = re.compile(r"[\w./@+=~,-]+")


class DeploymentError(Exception):
    """The stack cannot be started or stopped; the message says what to do."""


@dataclass(frozen=True)
class Layout:
    """The folders of one stack; ``port`` is the one people connect to, on the address ``listen``."""

    checkout: Path
    home: Path
    models: Path
    port: int
    listen: str = DEFAULT_LISTEN

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], checkout: Path = CHECKOUT) -> Layout:
        """The layout that the variables ask for. Raises DeploymentError."""
        text = environment.get("WARREN_PORT") or str(DEFAULT_PORT)
        if not text.isdecimal() or not 1 <= int(text) <= 65535:
            raise DeploymentError("WARREN_PORT is not a port: give a number from 1 to 65535.")
        given = environment.get("WARREN_HOME")
        home = Path(given).expanduser().absolute() if given else checkout / "var"
        models = home / "models" if given else checkout / "models"
        layout = cls(checkout, home, models, int(text), _address(environment.get("WARREN_LISTEN") or DEFAULT_LISTEN))
        if not _PLAIN.fullmatch(str(home)):
            raise DeploymentError(f"The path {home} has spaces or signs that configuration files treat as their own.")
        if len(str(layout.supervisor_socket)) > _MAX_SOCKET_PATH:
            raise DeploymentError("WARREN_HOME is too long for a Unix socket in it: choose a path under 80 characters.")
        return layout

    def create(self) -> None:
        """Make every folder that is missing; secrets are for the invoking user only."""
        for folder in (self.home, self.models, self.logs, self.run, self.datasets, self.ledger, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)
        for name in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
            (self.nginx / name).mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(mode=0o700, exist_ok=True)

    @property
    def url(self) -> str:
        """Where people on this machine connect to."""
        everywhere = ipaddress.IPv4Address(self.listen).is_unspecified
        return f"http://{DEFAULT_LISTEN if everywhere else self.listen}:{self.port}"

    @property
    def logs(self) -> Path:
        """One rotated file per process."""
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """Sockets, pid files, generated configuration and the chosen ports."""
        return self.home / "run"

    @property
    def secrets(self) -> Path:
        """Passwords and signing keys, mode 0600 in a folder of mode 0700."""
        return self.home / "secrets"

    @property
    def broker(self) -> Path:
        """The RabbitMQ node's home."""
        return self.home / "broker"

    @property
    def nginx(self) -> Path:
        """Nginx's temporary files."""
        return self.home / "nginx"

    @property
    def datasets(self) -> Path:
        """Uploads."""
        return self.home / "datasets"

    @property
    def ledger(self) -> Path:
        """The folder of the job ledger, when it is SQLite."""
        return self.home / "ledger"

    @property
    def temporary(self) -> Path:
        """``TMPDIR`` of every process."""
        return self.home / "tmp"

    @property
    def supervisor_socket(self) -> Path:
        """Where the supervisor takes commands."""
        return self.run / "supervisor.sock"

    def replica_socket(self, number: int) -> Path:
        """Where Nginx reaches a replica."""
        return self.run / f"api-{number}.sock"

    @property
    def supervisor_pid(self) -> Path:
        """The supervisor's pid file."""
        return self.run / "supervisord.pid"

    @property
    def supervisor_config(self) -> Path:
        """The supervisor's generated configuration."""
        return self.run / "supervisord.conf"

    @property
    def nginx_config(self) -> Path:
        """Nginx's generated configuration."""
        return self.run / "nginx.conf"

    @property
    def definitions(self) -> Path:
        """The broker's generated users, permissions, exchanges and queues."""
        return self.secrets / "definitions.json"


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise DeploymentError("WARREN_LISTEN is not an address: give one such as 0.0.0.0 or 192.168.1.10.") from error
