import os
import socket
from pathlib import Path

import pytest

from deploy.native import nginx, ports, strays
from deploy.native.layout import DEFAULT_PORT, MOST, DeploymentError, Layout
from deploy.native.ports import PortBlock


def a_layout(home: Path, port: int = 8080) -> Layout:
    layout = Layout.from_environment({"WARREN_HOME": str(home), "WARREN_PORT": str(port)})
    layout.create()
    return layout


def test_without_variables_models_lie_in_the_checkout_and_the_rest_in_var() -> None:
    layout = Layout.from_environment({}, Path("/checkout"))
    assert (layout.home, layout.models) == (Path("/checkout/var"), Path("/checkout/models"))
    assert layout.port == DEFAULT_PORT


def test_with_a_home_everything_lives_there() -> None:
    layout = Layout.from_environment({"WARREN_HOME": "/srv/warren", "WARREN_PORT": "9000"})
    assert (layout.home, layout.models, layout.port) == (Path("/srv/warren"), Path("/srv/warren/models"), 9000)


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(DeploymentError, match="WARREN_PORT"):
        Layout.from_environment({"WARREN_PORT": port})


@pytest.mark.parametrize("port", ["http", "65536", "-1", "8080"])
def test_a_port_for_grpc_that_is_none_or_taken_by_http_is_refused(port: str) -> None:
    with pytest.raises(DeploymentError, match="WARREN_GRPC_PORT"):
        Layout.from_environment({"WARREN_GRPC_PORT": port})


@pytest.mark.parametrize("port", ["", "0"])
def test_without_a_port_for_grpc_there_is_none(port: str) -> None:
    assert Layout.from_environment({"WARREN_GRPC_PORT": port}).grpc_port == 0


@pytest.mark.parametrize("home", ["/has a space", '/has"quotes', "/has;semicolon", "/has$dollar", "/has%percent"])
def test_a_home_that_configuration_files_would_misread_is_refused(home: str) -> None:
    with pytest.raises(DeploymentError, match="path"):
        Layout.from_environment({"WARREN_HOME": home})


def test_a_home_too_deep_for_a_unix_socket_is_refused() -> None:
    with pytest.raises(DeploymentError, match="too long"):
        Layout.from_environment({"WARREN_HOME": "/" + "deep/" * 20})


def test_secrets_are_for_the_owner_only(tmp_path: Path) -> None:
    assert a_layout(tmp_path / "home").secrets.stat().st_mode & 0o777 == 0o700


def test_internal_ports_are_distinct_and_below_the_ephemeral_range() -> None:
    for port in (1, 80, 8080, 20_005, 31_999, 65_535):
        for block in ports.candidates(port):
            numbers = range(1, MOST + 1)
            used = [block.amqp, block.dist, block.epmd, *(block.replica(number) for number in numbers)]
            numbered = [f"{group}-{number}" for group in ("api", "predictor") for number in numbers]
            used += [block.metrics(program) for program in ("worker", "trainer", *numbered)]
            assert len(set(used)) == len(used)
            assert all(20_000 <= each < 32_768 and each in block.all() and each != port for each in used)


def test_blocks_of_neighbouring_ports_do_not_overlap() -> None:
    first = [next(ports.candidates(port)).first for port in range(8080, 8380)]
    assert len({*first}) == 300
    assert all(block % 40 == 0 for block in first)


def test_a_block_with_a_port_in_use_is_passed_over_and_the_choice_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = a_layout(tmp_path)
    favourite, second, *_ = ports.candidates(layout.port)
    monkeypatch.setattr(ports, "taken", lambda port, *_: port == favourite.amqp)
    chosen = ports.choose(layout)
    assert chosen == second
    assert ports.remembered(layout) == chosen
    monkeypatch.setattr(ports, "taken", lambda *_: False)
    assert ports.choose(layout) == chosen


def test_a_remembered_block_that_holds_the_port_itself_is_forgotten(tmp_path: Path) -> None:
    layout = a_layout(tmp_path, port=20_003)
    (layout.run / "ports.json").write_text('{"first": 20000}')
    assert ports.remembered(layout) is None
    (layout.run / "ports.json").write_text("torn")
    assert ports.remembered(layout) is None


def test_a_taken_port_is_reported_with_the_process_that_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        layout = a_layout(tmp_path, port=other.getsockname()[1])
        with pytest.raises(DeploymentError, match=rf"in use by .*\(pid {os.getpid()}\).*WARREN_PORT="):
            ports.choose(layout)


def test_no_free_block_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = a_layout(tmp_path)
    monkeypatch.setattr(ports, "taken", lambda port, *_: port != layout.port)
    with pytest.raises(DeploymentError, match="No 40 free ports"):
        ports.choose(layout)


def test_a_port_nobody_can_be_named_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "another process" in strays.listener(free_port())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_block_is_forty_ports() -> None:
    assert list(PortBlock(20_000).all()) == list(range(20_000, 20_040))


@pytest.mark.parametrize("name", ["WARREN_REPLICAS", "WARREN_PREDICTORS"])
@pytest.mark.parametrize("count", ["0", "9", "many"])
def test_a_number_of_processes_that_cannot_be_is_refused(name: str, count: str) -> None:
    with pytest.raises(DeploymentError, match=f"{name}.*1 to 8"):
        Layout.from_environment({name: count})


def test_numbers_of_processes_are_taken_from_the_environment() -> None:
    layout = Layout.from_environment({"WARREN_REPLICAS": "4", "WARREN_PREDICTORS": "1"})
    assert (layout.replicas, layout.predictors) == (4, 1)


@pytest.mark.parametrize("rate", ["-1", "1.5", "100001", "many"])
def test_a_rate_that_cannot_be_is_refused(rate: str) -> None:
    with pytest.raises(DeploymentError, match=r"WARREN_ADDRESS_RATE.*1 to 100000"):
        Layout.from_environment({"WARREN_ADDRESS_RATE": rate})


def test_addresses_are_counted_only_where_a_rate_is_given() -> None:
    plain, limited = (Layout.from_environment({"WARREN_ADDRESS_RATE": rate}) for rate in ("", "50"))
    assert (plain.address_rate, limited.address_rate) == (0, 50)
    assert "limit_req zone" not in nginx.render(plain)
    assert "rate=50r/s;" in nginx.render(limited)
    assert "limit_req zone=warren_addresses burst=50 nodelay;" in nginx.render(limited)
