import configparser
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from deploy.native import credentials, nginx, programs, supervisor_config
from deploy.native.broker import Node, Ports
from deploy.native.layout import DeploymentError, Layout
from deploy.native.ports import PortBlock
from model_store import signing
from wire import provision, settings, topology

BLOCK = PortBlock(20_400)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout.from_environment({"WARREN_HOME": str(tmp_path / "home"), "WARREN_PORT": "8123"})
    layout.create()
    credentials.ensure(layout)
    programs.node(layout, BLOCK).prepare()
    nginx.write(layout)
    return layout


def digests(layout: Layout) -> dict[str, str]:
    """Of the files each program is made of, as the supervisor sees them."""
    return {
        program.name: program.environment.get("CONFIG_DIGEST", program.environment.get("CODE_DIGEST", ""))
        for program in programs.programs(layout, BLOCK, {})
    }


def changed(layout: Layout, before: dict[str, str]) -> list[str]:
    return [name for name, digest in digests(layout).items() if digest != before[name]]


def test_secrets_are_made_once_and_private(layout: Layout) -> None:
    files = sorted(path for path in layout.secrets.iterdir() if path.name != "signing.pub")
    before = {path: path.read_bytes() for path in files}
    assert len(before) == len(topology.ROLES) + 2
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    credentials.ensure(layout)
    assert {path: path.read_bytes() for path in files} == before
    signing.Verifier(layout.secrets / "signing.pub").check(
        b"x", signing.Signer(layout.secrets / "signing.key").sign(b"x")
    )


def test_the_brokers_secrets_are_never_readable_by_others(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that only the mode with which a file is made counts.
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    node = Node(tmp_path / "node", Ports(1, 2, 3), definitions=layout.definitions)
    node.prepare()
    cookie = (node.home / ".erlang.cookie").read_text()
    node.prepare()
    assert (node.home / ".erlang.cookie").read_text() == cookie
    modes = {name: (node.home / name).stat().st_mode & 0o777 for name in (".erlang.cookie", "definitions.json")}
    assert modes == {".erlang.cookie": 0o400, "definitions.json": 0o600}


def test_definitions_follow_the_topology_and_hold_no_password(layout: Layout) -> None:
    text = layout.definitions.read_text()
    assert {user["name"] for user in json.loads(text)["users"]} == {*topology.ROLES}
    assert all(credentials.password_file(layout, role).read_text() not in text for role in topology.ROLES)
    stale = json.loads(text) | {"queues": []}
    layout.definitions.write_text(json.dumps(stale))
    credentials.ensure(layout)
    assert len(json.loads(layout.definitions.read_text())["queues"]) == len(topology.QUEUES)


def test_a_password_that_is_made_anew_reaches_the_broker_and_restarts_it(layout: Layout) -> None:
    before = digests(layout)
    credentials.password_file(layout, "api").unlink()
    credentials.ensure(layout)
    for user in json.loads(layout.definitions.read_text())["users"]:
        assert provision.fits(user["password_hash"], credentials.password_file(layout, user["name"]).read_text())
    assert changed(layout, before) == ["broker"]


def test_every_process_gets_settings_it_understands(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in programs.programs(layout, BLOCK, {"WARREN_PREDICT__PREFETCH": "3"}):
        if not program.command[0].endswith("python"):
            continue
        for name, value in program.environment.items():
            monkeypatch.setenv(name, value)
        read = settings.Settings()
        assert read.predict.prefetch == 3
        assert read.broker.user == program.group
        assert read.broker.password_file == credentials.password_file(layout, read.broker.user)  # type: ignore[arg-type]
        assert read.process.metrics_port == BLOCK.metrics(program.name)
        for name in program.environment:
            monkeypatch.delenv(name)


def test_grpc_is_there_only_where_a_port_is_named(layout: Layout, tmp_path: Path) -> None:
    assert "http2" not in layout.nginx_config.read_text()
    spoken = Layout.from_environment(
        {"WARREN_HOME": str(tmp_path / "home"), "WARREN_PORT": "8123", "WARREN_GRPC_PORT": "8124"}
    )
    text = nginx.render(spoken)
    assert "listen 127.0.0.1:8124 default_server http2" in text
    assert "${" not in text.replace("${WARREN_…}", "")
    found = {program.name: program for program in programs.programs(spoken, BLOCK, {})}
    assert found["nginx"].ports == {"http": 8123, "grpc": 8124}


def test_kept_connections_outlive_a_reload_where_nginx_can(layout: Layout) -> None:
    for version, able in (((1, 22, 1), False), ((1, 27, 3), False), ((1, 27, 4), True), ((1, 30, 0), True)):
        assert ("keepalive_min_timeout" in nginx.render(layout, version=version)) is able
    assert nginx.version() > (1, 0, 0)


def test_each_role_is_told_only_where_its_own_things_are(layout: Layout) -> None:
    seen = {program.group: program.environment for program in programs.programs(layout, BLOCK, {})}
    assert "WARREN_PATHS__MODELS" not in seen["api"]
    assert "WARREN_LEDGER__URL" not in seen["trainer"]
    assert "WARREN_LEDGER__URL" not in seen["predictor"]
    assert [role for role in topology.ROLES if "WARREN_PATHS__SIGNING_KEY_FILE" in seen[role]] == ["trainer"]


def test_the_users_own_ledger_wins_but_not_the_brokers_address(layout: Layout) -> None:
    own = {"WARREN_LEDGER__URL": "postgresql+psycopg://warren@db/warren", "WARREN_BROKER__PORT": "1"}
    replica = next(program for program in programs.programs(layout, BLOCK, own) if program.name == "api-1")
    assert replica.environment["WARREN_LEDGER__URL"] == own["WARREN_LEDGER__URL"]
    assert replica.environment["WARREN_BROKER__PORT"] == str(BLOCK.amqp)


def test_only_settings_are_taken_from_the_users_environment() -> None:
    given = {"WARREN_TRAIN__ATTEMPTS": "2", "WARREN_HOME": "/x", "SECRET": "s", "PATH": "/bin"}
    assert programs.tuning(given) == {"WARREN_TRAIN__ATTEMPTS": "2"}
    layout = Layout.from_environment({"WARREN_HOME": "/srv/w"})
    inherited = programs.base_environment(layout, given)
    assert inherited["WARREN_SUPERVISED"] == "/srv/w"
    assert "SECRET" not in inherited


def test_changed_code_and_configuration_show_in_the_environment(layout: Layout) -> None:
    before = digests(layout)
    layout.definitions.write_text(layout.definitions.read_text() + " ")
    assert changed(layout, before) == ["broker"]


def test_the_supervisors_configuration_reads_back_as_written(layout: Layout) -> None:
    wanted = programs.programs(layout, BLOCK, {"WARREN_LEDGER__URL": "postgresql+psycopg://u%40x@h/n?a='b'"})
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.read_string(supervisor_config.render(layout, wanted))
    for program in wanted:
        section = parser[f"program:{program.name}"]
        assert shlex.split(section["command"].replace("%%", "%"))[3:] == list(program.command)
        assert section["directory"] == str(layout.checkout)
        assert f'WARREN_PROGRAM="{program.name}"' in section["environment"]
        for name, value in program.environment.items():
            assert f'{name}="{value.replace("%", "%%")}"' in section["environment"]
    # Replicas in one group would be stopped together when they change.
    assert not [section for section in parser.sections() if section.startswith("group:")]


def test_a_value_that_cannot_be_written_is_refused(layout: Layout) -> None:
    wanted = programs.programs(layout, BLOCK, {"WARREN_API__REPLICA": 'quo"te'})
    replica = [program for program in wanted if program.name == "trainer"]
    with pytest.raises(DeploymentError, match="WARREN_API__REPLICA"):
        supervisor_config.render(layout, replica)


def test_the_broker_starts_before_and_stops_after_who_uses_it(layout: Layout) -> None:
    order = {program.name: program.order for program in programs.programs(layout, BLOCK, {})}
    assert order["epmd"] < order["broker"] < order["predictor-1"] < order["worker"] < order["api-1"] < order["nginx"]


def test_stop_waits_are_longer_than_the_drain(layout: Layout) -> None:
    for program in programs.programs(layout, BLOCK, {"WARREN_PROCESS__DRAIN_S": "45"}):
        if "WARREN_PROCESS__DRAIN_S" in program.environment:
            assert program.stop_wait_s > 45


@pytest.mark.parametrize("drain_s", [0, 20, 45])
def test_a_reloaded_nginx_finishes_what_it_has(layout: Layout, drain_s: int) -> None:
    text = nginx.render(layout, drain_s=drain_s)
    [shutdown_s] = map(int, re.findall(r"^worker_shutdown_timeout (\d+)s;", text, re.MULTILINE))
    [answer_s] = map(int, re.findall(r"^    proxy_read_timeout (\d+)s;", text, re.MULTILINE))
    assert shutdown_s > max(answer_s, drain_s)


def test_a_setting_leaves_nginx_running_and_a_stop_gives_it_the_usual_drain(layout: Layout) -> None:
    plain, tuned = (
        next(program for program in programs.programs(layout, BLOCK, given) if program.name == "nginx")
        for given in ({}, {"WARREN_PROCESS__DRAIN_S": "45"})
    )
    assert plain == tuned
    assert plain.stop_wait_s >= settings.Process().drain_s


def test_nginx_accepts_its_configuration(layout: Layout) -> None:
    done = subprocess.run([*nginx.command(layout), "-t"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_nothing_is_left_open_in_nginx_configuration(layout: Layout) -> None:
    text = nginx.render(layout)
    assert not re.search(r"\$\{", text)
    assert text.count("max_fails=0;") == 2 * len(re.findall(r"^ *upstream ", text, re.MULTILINE)) > 0
    assert ("user root;" in text) == (os.geteuid() == 0)


def test_a_template_with_an_unknown_name_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        nginx.fill("${WARREN_UNHEARD_OF}", {})
    assert nginx.fill("$keep ${WARREN_A}", {"WARREN_A": "a"}) == "$keep a"


def test_limits_in_nginx_are_those_of_the_settings(layout: Layout) -> None:
    text, limits = nginx.render(layout), settings.Limits()
    locations = dict(re.findall(r"location = (/\w+) \{[^}]*?client_max_body_size (\d+)m;", text))
    mib = 1024 * 1024
    assert {path: int(size) * mib for path, size in locations.items()} == {
        "/predict": limits.predict_body_bytes,
        "/train": limits.train_body_bytes,
        "/datasets": limits.dataset_bytes,
    }
    assert f"client_max_body_size {limits.other_body_bytes // 1024}k;" in text


def test_nginx_closes_idle_connections_before_a_replica_does(layout: Layout) -> None:
    upstream = re.search(r"upstream warren_api \{.*?keepalive_timeout (\d+)s", nginx.render(layout), re.DOTALL)
    assert upstream is not None
    assert int(upstream[1]) < settings.Api().keep_alive_s


def test_a_missing_nginx_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx.shutil, "which", lambda *_args, **_names: None)
    with pytest.raises(DeploymentError, match="apt-get install nginx-light"):
        nginx.find_nginx()
