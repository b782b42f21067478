"""What ``make up``, ``down``, ``status``, ``logs``, ``key`` and ``rabbitmqctl`` do.

In comes a layout; out go a running stack, a stopped one, a table, the logs, or the broker's word.
Each command returns its text or raises DeploymentError with what to do; printing is the command
line's.
"""

from __future__ import annotations

import contextlib
import fcntl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deploy import secret_files
from deploy.native import credentials, nginx, ports, readiness, strays, supervisor_config, tls
from deploy.native.layout import DeploymentError, Layout
from deploy.native.ports import PortBlock
from deploy.native.programs import Program, base_environment, drain_s, node, programs, tuning
from deploy.native.supervision import Supervisor, SupervisorAway
from wire import exposure, settings

Say = Callable[[str], None]
"""Takes a line for the person who waits."""

_READY_TIMEOUT_S = 90.0
_LOCK_TIMEOUT_S = 120.0


def up(layout: Layout, environment: Mapping[str, str], say: Say) -> str:
    """Start the stack, or bring a running one up to date; returns once everything is ready."""
    started = time.monotonic()
    layout.refuse_others()
    _refuse_open_door(layout, environment)
    tls.check(layout.tls)
    layout.create()
    with _locked(layout):
        supervisor = Supervisor(layout)
        if supervisor.running():
            news = _update(layout, supervisor, environment, say)
        else:
            news = _start(layout, supervisor, environment, say)
    return f"{news} ({time.monotonic() - started:.0f} s)\n\n{_welcome(layout, _keys(environment))}"


def down(layout: Layout, say: Say) -> str:
    """Stop the stack and whatever an earlier one left behind; nothing of it runs when this returns."""
    layout.refuse_others()
    if not layout.run.exists():
        return "Nothing is running."
    with _locked(layout):
        supervisor = Supervisor(layout)
        try:
            supervisor.stop()
            stopped = True
        except SupervisorAway:
            stopped = False
        left = supervisor.clear()
        if left:
            say(f"Ended {left} processes that no supervisor looked after.")
    return "Stopped." if stopped or left else "Nothing is running."


def status(layout: Layout) -> tuple[str, bool]:
    """A table of every process with its state, pid and ports; and whether all of it runs."""
    try:
        states = {one.name: one for one in Supervisor(layout).processes()}
    except SupervisorAway:
        left = len(strays.find(layout.home))
        extra = f"; {left} processes were left behind, `make up` or `make down` clears them" if left else ""
        return f"Not running (home {layout.home}){extra}.", False
    block = ports.remembered(layout) or next(ports.candidates(layout.port))
    layout = _as_running(layout, [*states])
    lines = [f"{'process':<14}{'state':<10}{'pid':>8}{'up':>10}  ports"]
    for program in programs(layout, block, {}):
        one = states.get(program.name)
        listed = "  ".join(f"{name} {port}" for name, port in program.ports.items())
        state, pid, uptime_s = (one.state, one.pid, one.uptime_s) if one else ("ABSENT", 0, 0)
        lines.append(f"{program.name:<14}{state:<10}{pid or '':>8}{_duration(uptime_s):>10}  {listed}")
    good = all(one.state == "RUNNING" for one in states.values())
    lines.append(f"\nhome {layout.home}   models {layout.models}   logs {layout.logs}")
    return "\n".join(lines), good


def _as_running(layout: Layout, names: Sequence[str]) -> Layout:
    """With the numbers of replicas and predictors that run, whatever this command's environment says."""
    replicas, predictors = (sum(name.startswith(kind) for name in names) for kind in ("api-", "predictor-"))
    return replace(layout, replicas=replicas, predictors=predictors)


def ask_broker(layout: Layout, arguments: Sequence[str]) -> str:
    """What ``rabbitmqctl`` says to these arguments, of the running stack's broker."""
    block = ports.remembered(layout)
    if block is None:
        raise DeploymentError("This stack was never started: run `make up` first.")
    return node(layout, block).ctl(*(arguments or ["status"])).rstrip()


def dead_letters(
    layout: Layout, environment: Mapping[str, str], arguments: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """The command that lists and replays dead letters, and the environment it needs: the worker's."""
    block = ports.remembered(layout)
    if block is None:
        raise DeploymentError("This stack was never started: run `make up` first.")
    worker = next(program for program in programs(layout, block, tuning(environment)) if program.name == "worker")
    command = [sys.executable, "-m", "api.jobs.dead_letters", *(arguments or ["list"])]
    return command, {**base_environment(layout, environment), **worker.environment}


def key(layout: Layout, environment: Mapping[str, str], arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The command that makes, lists and revokes API keys, and the environment it needs: a replica's.

    Works before the first start and beside a running stack: it speaks to the ledger only.
    """
    layout.refuse_others()
    block = ports.remembered(layout) or next(ports.candidates(layout.port))
    layout.create()
    replica = next(program for program in programs(layout, block, tuning(environment)) if program.name == "api-1")
    command = [sys.executable, "-m", "api.keys", *(arguments or ["list"])]
    return command, {**base_environment(layout, environment), **replica.environment}


def log_files(layout: Layout, process: str) -> list[Path]:
    """The current log files, of one process or of all. Raises DeploymentError when there is none."""
    files = sorted(layout.logs.glob(f"{process or '*'}.log")) if layout.logs.exists() else []
    if not files:
        known = ", ".join(path.stem for path in sorted(layout.logs.glob("*.log"))) or "none yet: run `make up` first"
        raise DeploymentError(f"There is no log of that name in {layout.logs}. There are: {known}.")
    return files


def _keys(environment: Mapping[str, str]) -> str:
    return environment.get("WARREN_API__KEYS", settings.Api().keys)


def _own_name(layout: Layout, environment: Mapping[str, str]) -> dict[str, str]:
    """The certificate's name among those that replicas without keys answer to: the welcome shows it."""
    if layout.tls.certificate_file is None or _keys(environment) == "required":
        return {}
    name, _ = tls.name_and_standing(layout.tls.certificate_file)
    if not name or exposure.is_loopback(name):
        return {}
    return {"WARREN_API__HOSTS": ",".join(filter(None, (environment.get("WARREN_API__HOSTS"), name)))}


def _refuse_open_door(layout: Layout, environment: Mapping[str, str]) -> None:
    """Raises DeploymentError where other machines could call without a key, or guess a password."""
    if exposure.is_loopback(layout.listen):
        return
    if _keys(environment) != "required":
        raise DeploymentError(
            f"WARREN_LISTEN={layout.listen} can be reached from other machines, so callers need keys.\n"
            "Make the first one:   make key args='create --owner NAME --scope admin'\n"
            f"and start with:       WARREN_API__KEYS=required WARREN_LISTEN={layout.listen} make up"
        )
    given = exposure.password_of(environment.get("WARREN_LEDGER__URL", ""))
    objection = exposure.objection(layout.listen, "required", {"WARREN_LEDGER__PASSWORD_FILE": given})
    if objection:
        raise DeploymentError(f"{objection[0].upper()}{objection[1:]}.")


def _start(layout: Layout, supervisor: Supervisor, environment: Mapping[str, str], say: Say) -> str:
    left = supervisor.clear()
    if left:
        say(f"Cleared {left} processes that an earlier run left behind.")
    block = ports.choose(layout)
    wanted = _write(layout, block, environment)
    many = f"{layout.replicas} API replicas, {layout.predictors} predictors"
    say(f"Starting the broker, {many}, the trainer, the worker and Nginx …")
    layout.nginx_unread.unlink(missing_ok=True)
    supervisor.start(base_environment(layout, environment))
    readiness.wait(layout, supervisor, wanted, _READY_TIMEOUT_S)
    return "Warren is running."


def _update(layout: Layout, supervisor: Supervisor, environment: Mapping[str, str], say: Say) -> str:
    block = ports.remembered(layout)
    if block is None:
        raise DeploymentError("The running stack's ports are unknown: run `make down`, then `make up`.")
    wanted = _write(layout, block, environment)

    def wait_ready(name: str) -> None:
        replaced = [program for program in wanted if program.name == name]
        readiness.wait(layout, supervisor, replaced, _READY_TIMEOUT_S)

    def reload_nginx() -> None:
        # Also what an update that failed before this has written.
        if layout.nginx_unread.exists() and supervisor.signal("nginx", "HUP"):
            layout.nginx_unread.unlink()

    changed = supervisor.update(wait_ready, reload_nginx)
    if changed:
        say(f"Restarted what changed: {', '.join(changed)}.")
    readiness.wait(layout, supervisor, wanted, _READY_TIMEOUT_S)
    return "Warren is running, with what changed restarted." if changed else "Warren is already running."


def _write(layout: Layout, block: PortBlock, environment: Mapping[str, str]) -> list[Program]:
    """Every generated file of the stack, and its programs."""
    credentials.ensure(layout)
    node(layout, block).prepare()
    tuned = tuning(environment) | _own_name(layout, environment)
    nginx.write(layout, drain_s=drain_s(tuned))
    wanted = programs(layout, block, tuned)
    secret_files.write(layout.supervisor_config, supervisor_config.render(layout, wanted))
    return wanted


def _welcome(layout: Layout, keys: str) -> str:
    url, trusting = layout.url, ""
    if layout.tls.certificate_file is not None:
        name, alone = tls.name_and_standing(layout.tls.certificate_file)
        url = f"https://{name}:{layout.port}" if name else url
        file = layout.tls.certificate_file
        trusting = f"  export CURL_CA_BUNDLE={file} SSL_CERT_FILE={file}\n" if alone else ""
    required = keys == "required"
    with_key = ' -H "Authorization: Bearer $KEY"' if required else ""
    first = "  KEY=$(make -s key args='create --owner you --scope admin')\n" if required else ""
    as_json = f"-H 'Content-Type: application/json'{with_key}"
    address = url.partition("://")[2].rpartition(":")[0]
    grpc = (
        f"  {address}:{layout.grpc_port}                 (gRPC: docs/protocols/open-inference.md)\n"
        if layout.grpc_port
        else ""
    )
    return f"""  {url}          (its calls: {url}/docs)
{grpc}
Try it:
{trusting}{first}  curl -s {url}/train {as_json} -d '{{"model":"iris","dataset":{{"sample":"iris"}},"target":"target"}}'
  curl -s {url}/models/iris{with_key}
  curl -s {url}/predict {as_json} -d '{{"model":"iris","instances":[[5.1,3.5,1.4,0.2]]}}'

Or with the command (docs/tutorial.md):
  .venv/bin/warren doctor --url {url}

make status shows every process, make logs follows the logs, make down stops it all."""


def _duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if seconds else ""


@contextlib.contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    """One command at a time per stack. Raises DeploymentError when another one holds on for minutes."""
    with (layout.run / "lock").open("w") as file:
        end = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise DeploymentError("Another make up or make down of this stack is still under way.") from error
                time.sleep(0.1)
        yield
