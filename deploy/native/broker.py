"""A private RabbitMQ node: the broker in the middle of the flow, apart from any system service.

In come a folder and three ports; out goes a node that listens on loopback only, keeps its data,
cookie and configuration in that folder, and takes its own port mapper (epmd) with it when it
stops. ``make up`` runs its commands under the supervisor; tests call ``start`` and ``stop``.

The scripts of the package's own folder are used: the wrapper that Debian puts in ``sbin``
switches users and reads the system's settings.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from deploy import secret_files

TEMPLATE = Path(__file__).parents[2] / "rabbitmq" / "rabbitmq.conf"
"""The broker's configuration with ``${host}`` and ``${port}`` left open."""

HOST = "127.0.0.1"
"""Where everything listens."""

_SCRIPT_FOLDERS = ("/usr/lib/rabbitmq/lib", "/usr/local/lib/rabbitmq/lib", "/opt/rabbitmq/lib")
# One for each core of the machines that docs/capacity.md plans with; measured were two. Without a bound a node on a
# machine of many cores starts as many threads, which wake and wait for work beside everybody else's.
_MAX_SCHEDULERS = 8
# The node's own name must resolve, whatever the machine's hosts file and name servers say.
_INETRC = '{host, {127,0,0,1}, ["localhost"]}.\n{lookup, [file, native]}.\n'
_USER = "rabbitmq"
_SET_USER = ("setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups")


class BrokerError(Exception):
    """The broker is not installed, did not start, or refused a command."""


@dataclass(frozen=True)
class Ports:
    """The node's TCP ports: AMQP, Erlang's distribution (for rabbitmqctl), and the port mapper."""

    amqp: int
    dist: int
    epmd: int

    @classmethod
    def free(cls) -> Ports:
        """Three ports that nobody uses at the moment."""
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for one in sockets:
                one.bind((HOST, 0))
            return cls(*(one.getsockname()[1] for one in sockets))


def find_scripts() -> Path:
    """The folder of the package's own scripts. Raises BrokerError with what to install."""
    found = [path for base in _SCRIPT_FOLDERS for path in Path(base).glob("rabbitmq_server-*/sbin")]
    on_path = shutil.which("rabbitmq-server")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    for folder in sorted(found, reverse=True):
        if (folder / "rabbitmq-env").is_file():
            return folder
    raise BrokerError("RabbitMQ is not installed: apt-get install rabbitmq-server")


def find_epmd() -> str:
    """Erlang's port mapper. Raises BrokerError with what to install."""
    bundled = sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))
    found = shutil.which("epmd") or next((str(path) for path in bundled), None)
    if found is None:
        raise BrokerError("Erlang's epmd is not installed: apt-get install erlang-base")
    return found


class Node:
    """One RabbitMQ node that lives in ``home``.

    ``plugins`` are enabled at boot; ``extra_config`` are lines added to the configuration;
    ``definitions`` is a definitions file (JSON) that is imported at every boot, before the
    listener opens, and without which the node has RabbitMQ's own ``guest``. When root, the node
    runs as the user ``rabbitmq`` if that user can reach ``home``, else as root.
    """

    def __init__(
        self,
        home: Path,
        ports: Ports,
        *,
        plugins: Sequence[str] = (),
        extra_config: Sequence[str] = (),
        definitions: Path | None = None,
    ) -> None:
        self.home = home.absolute()
        self.ports = ports
        self.name = "warren@localhost"
        self._plugins = tuple(plugins)
        self._extra_config = tuple(extra_config)
        self._definitions = definitions
        self._scripts = find_scripts()
        self._epmd = find_epmd()
        self._processes: list[subprocess.Popen[bytes]] = []

    def prepare(self) -> None:
        """Write the node's files and give them to the user that will run it; idempotent."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "log").mkdir(exist_ok=True)
        lines = [Template(TEMPLATE.read_text()).substitute(host=HOST, port=self.ports.amqp), *self._extra_config]
        if self._definitions is not None:
            secret_files.write(self.home / "definitions.json", self._definitions.read_text())
            lines.append(f"load_definitions = {self.home}/definitions.json")
        (self.home / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.home / "advanced.config").write_text("[].\n")
        (self.home / "inetrc").write_text(_INETRC)
        (self.home / "rabbitmq-env.conf").write_text("")
        (self.home / "enabled_plugins").write_text(f"[{','.join(self._plugins)}].\n")
        cookie = self.home / ".erlang.cookie"
        if not cookie.exists():
            secret_files.write(cookie, secrets.token_hex(24), 0o400)
        self._hand_over()

    def environment(self) -> dict[str, str]:
        """The whole environment of the node and of its commands; nothing is inherited."""
        schedulers = min(os.cpu_count() or 1, _MAX_SCHEDULERS)
        return {
            "PATH": os.defpath + ":/usr/sbin:/sbin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.ports.epmd),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_INETRC": str(self.home / "inetrc"),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self.ports.dist),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.home / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.home / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.home / "rabbitmq.pid"),
            # Bound schedulers of several nodes on one machine would share the same few cores.
            "RABBITMQ_SCHEDULER_BIND_TYPE": "u",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S {schedulers}:{schedulers} -start_epmd false"
            " -kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CTL_ERL_ARGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            # Makes the script become the virtual machine, so a supervisor sees the right pid.
            "RUNNING_UNDER_SYSTEMD": "1",
        }

    def server_command(self) -> list[str]:
        """The command that is the broker, in the foreground, until SIGTERM."""
        return [*self._as_user, str(self._scripts / "rabbitmq-server")]

    def epmd_command(self) -> list[str]:
        """The command that is the port mapper, in the foreground; start it before the broker."""
        return [*self._as_user, self._epmd, "-port", str(self.ports.epmd), "-address", HOST]

    def start(self) -> None:
        """Start the port mapper and the broker as children that end with this process."""
        self.prepare()
        for command in (self.epmd_command(), self.server_command()):
            self._processes.append(self._spawn(command))

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until the AMQP listener, which opens last, answers. Raises BrokerError."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if any(process.poll() is not None for process in self._processes):
                break
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.ports.amqp), timeout=1):
                return
            time.sleep(0.05)
        raise BrokerError(f"RabbitMQ did not start; {self.log_file} ends with:\n{self._log_tail()}")

    def ctl(self, *args: str, timeout_s: float = 120.0) -> str:
        """What ``rabbitmqctl`` prints for these arguments. Raises BrokerError when it refuses."""
        command = [*self._as_user, str(self._scripts / "rabbitmqctl"), "-q", "-n", self.name, *args]
        try:
            done = subprocess.run(
                command, env=self.environment(), cwd=self.home, capture_output=True, text=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired as error:
            raise BrokerError(f"rabbitmqctl {args[0]} took longer than {timeout_s} s") from error
        if done.returncode != 0:
            raise BrokerError(f"rabbitmqctl {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def stop(self, timeout_s: float = 30.0) -> None:
        """Stop the broker, then the port mapper; kill what does not stop in time."""
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kill(self) -> None:
        """End both at once, as a power cut would; ``start`` may follow."""
        while self._processes:
            process = self._processes.pop()
            process.kill()
            process.wait()

    @property
    def log_file(self) -> Path:
        """Where ``start`` sends the broker's output."""
        return self.home / "log" / "broker.log"

    @property
    def pid(self) -> int:
        """The running broker's process id; 0 when it was not started from here."""
        return self._processes[-1].pid if self._processes else 0

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        tied = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL"]
        bare = command[len(self._as_user) :]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [*tied, *self._as_user[1:], *bare],
                env=self.environment(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def _as_user(self) -> tuple[str, ...]:
        """The prefix that runs a command as the owner of ``home``, when that is not the caller."""
        other = self.home.exists() and os.geteuid() == 0 and self.home.stat().st_uid != 0
        return _SET_USER if other else ()

    def _hand_over(self) -> None:
        """Give ``home`` to the user ``rabbitmq`` where there is one that can reach it."""
        if os.geteuid() != 0 or shutil.which("setpriv") is None:
            return
        try:
            user = pwd.getpwnam(_USER)
        except KeyError:
            return
        self._own(user.pw_uid, user.pw_gid)
        reached = subprocess.run([*_SET_USER, "test", "-w", str(self.home)], stderr=subprocess.DEVNULL)
        if reached.returncode != 0:
            self._own(0, 0)

    def _own(self, uid: int, gid: int) -> None:
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, uid, gid, follow_symlinks=False)

    def _log_tail(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return "\n".join(lines[-20:])
