"""Where the native stack keeps what runs and what it remembers.

In come the checkout and the variables ``WARREN_HOME``, ``WARREN_PORT``, ``WARREN_GRPC_PORT``, ``WARREN_LISTEN``,
``WARREN_REPLICAS``, ``WARREN_PREDICTORS`` and ``WARREN_ADDRESS_RATE``, and those of TLS; out goes every path
that the other modules of this package use. Without ``WARREN_HOME`` the models live in the checkout's
``models/`` and everything else in its ``var/``; with it, all of it lives there.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from wire.tls import Tls

CHECKOUT = Path(__file__).parents[2]
"""The folder that holds the project's packages."""

DEFAULT_PORT = 8080
"""Nginx's port when ``WARREN_PORT`` names none."""

DEFAULT_LISTEN = "127.0.0.1"
"""The address Nginx listens on when ``WARREN_LISTEN`` names none: this machine only."""

MOST = 8
"""API replicas, and predictors, that one machine may have: their ports are in one block (ports.py)."""

MOST_RATE = 100_000
"""Requests a second that one address may be allowed; who wants more sets no limit."""

PLAIN = Tls()
"""No TLS."""

_DEFAULT_COUNT = 2
_MAX_SOCKET_PATH = 100
_PLAIN = re.compile(r"[\w./@+=~,-]+")
_TLS = "WARREN_TLS__"


class DeploymentError(Exception):
    """The stack cannot be started or stopped; the message says what to do."""


@dataclass(frozen=True)
class Layout:
    """The folders of one stack; ``port`` is the one people connect to, on the address ``listen``.

    ``replicas`` and ``predictors`` say how many of them run. On ``grpc_port`` they connect with gRPC; with 0 nobody
    does, and no replica loads it. ``address_rate`` is how many requests a second Nginx takes from one address, 0
    for any number. With ``tls`` on, both ports speak it.
    """

    checkout: Path
    home: Path
    models: Path
    port: int
    listen: str = DEFAULT_LISTEN
    replicas: int = _DEFAULT_COUNT
    predictors: int = _DEFAULT_COUNT
    grpc_port: int = 0
    address_rate: int = 0
    tls: Tls = PLAIN

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], checkout: Path = CHECKOUT) -> Layout:
        """The layout that the variables ask for. Raises DeploymentError."""
        port = _port(environment, "WARREN_PORT", DEFAULT_PORT)
        grpc_port = _port(environment, "WARREN_GRPC_PORT", 0)
        if grpc_port == port:
            raise DeploymentError("WARREN_GRPC_PORT and WARREN_PORT are the same port: gRPC needs one of its own.")
        given = environment.get("WARREN_HOME")
        home = Path(given).expanduser().absolute() if given else checkout / "var"
        models = home / "models" if given else checkout / "models"
        listen = _address(environment.get("WARREN_LISTEN") or DEFAULT_LISTEN)
        replicas, predictors = (_count(environment, name) for name in ("WARREN_REPLICAS", "WARREN_PREDICTORS"))
        rate, tls = _rate(environment), _tls(environment)
        layout = cls(checkout, home, models, port, listen, replicas, predictors, grpc_port, rate, tls)
        if not _PLAIN.fullmatch(str(home)):
            raise DeploymentError(f"The path {home} has spaces or signs that configuration files treat as their own.")
        if len(str(layout.supervisor_socket)) > _MAX_SOCKET_PATH:
            raise DeploymentError("WARREN_HOME is too long for a Unix socket in it: choose a path under 80 characters.")
        return layout

    def refuse_others(self) -> None:
        """Raises DeploymentError where the stack of this home is another user's, whose files would become ours."""
        uid = self._owner()
        if uid == os.geteuid():
            return
        owner, caller = _user(uid), _user(os.geteuid())
        raise DeploymentError(
            f"The stack in {self.home} is {owner}'s, and you are {caller}: run this as {owner}, or give WARREN_HOME "
            f"a folder of your own. Once it is stopped, `sudo chown -R {caller} {self.home}` makes it yours."
        )

    def _owner(self) -> int:
        """Who runs the stack, whose folder that is where nobody does, and the caller where there is none."""
        # The supervisor writes its pid file anew, while the folder may be that of an earlier one.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            return self.supervisor_pid.stat().st_uid
        try:
            return self.run.stat().st_uid
        except FileNotFoundError:
            return os.geteuid()
        except PermissionError:
            return self.home.stat().st_uid

    def create(self) -> None:
        """Make every folder that is missing; secrets are for the invoking user only."""
        data = (self.models, self.datasets, self.predictions, self.ledger)
        for folder in (self.home, self.logs, self.run, self.temporary, *data):
            folder.mkdir(parents=True, exist_ok=True)
        for name in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
            (self.nginx / name).mkdir(parents=True, exist_ok=True)
        self.secrets.mkdir(mode=0o700, exist_ok=True)

    @property
    def url(self) -> str:
        """Where people on this machine connect to."""
        everywhere = ipaddress.IPv4Address(self.listen).is_unspecified
        scheme = "https" if self.tls.on else "http"
        return f"{scheme}://{DEFAULT_LISTEN if everywhere else self.listen}:{self.port}"

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
    def predictions(self) -> Path:
        """Outputs of offline predictions."""
        return self.home / "predictions"

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
    def nginx_unread(self) -> Path:
        """Is there while a running Nginx has not been told of its configuration as it is now."""
        return self.run / "nginx.unread"

    @property
    def definitions(self) -> Path:
        """The broker's generated users, permissions, exchanges and queues."""
        return self.secrets / "definitions.json"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise DeploymentError("WARREN_LISTEN is not an address: give one such as 0.0.0.0 or 192.168.1.10.") from error


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not min(1, default) <= int(text) <= 65535:
        raise DeploymentError(f"{name} is not a port: give a number from 1 to 65535.")
    return int(text)


def _count(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name) or str(_DEFAULT_COUNT)
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise DeploymentError(f"{name} is how many of them run on this machine: give a number from 1 to {MOST}.")
    return int(text)


def _rate(environment: Mapping[str, str]) -> int:
    text = environment.get("WARREN_ADDRESS_RATE") or "0"
    if not text.isdecimal() or int(text) > MOST_RATE:
        raise DeploymentError(
            "WARREN_ADDRESS_RATE is how many requests a second one address may send: "
            f"give a whole number from 1 to {MOST_RATE}, or 0 for no limit."
        )
    return int(text)


def _tls(environment: Mapping[str, str]) -> Tls:
    given = {name: text for name, text in environment.items() if name.startswith(_TLS) and text}
    for name, text in given.items():
        if not _PLAIN.fullmatch(text):
            raise DeploymentError(f"{name}: the path {text} has spaces or signs that Nginx treats as its own.")
    files = {name.removeprefix(_TLS).lower(): Path(text).expanduser().absolute() for name, text in given.items()}
    try:
        return Tls.model_validate(files)
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False)
        unknown = "".join(f"{_TLS}{str(part).upper()} is no setting. " for part in first["loc"])
        known = " and ".join(f"{_TLS}{field.upper()}" for field in Tls.model_fields)
        what = f"There are {known}" if unknown else first["msg"].removeprefix("Value error, ")
        raise DeploymentError(f"{unknown}{what}.") from error
