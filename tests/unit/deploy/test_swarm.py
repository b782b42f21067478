"""The Compose file as Swarm reads it."""

import io
import json
import sys
from typing import Any

import pytest

from deploy.compose import swarm

CONFIG: dict[str, Any] = {
    "name": "warren",
    "services": {
        "api": {
            "image": "warren/api:1",
            "build": {"context": "."},
            "command": None,
            "depends_on": {"rabbitmq": {"condition": "service_healthy"}},
            "environment": {"WARREN_BROKER__USER": "api"},
            "networks": {"edge": None, "broker": None},
            "security_opt": ["no-new-privileges:true"],
            "read_only": True,
            "restart": "unless-stopped",
            "healthcheck": {"test": ["CMD", "python", "-S", "-I", "deploy/compose/healthy.py", "8000"]},
            "volumes": [
                {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": "67108864", "mode": 1023}},
                {"type": "volume", "source": "datasets", "target": "/data/datasets", "volume": {}},
            ],
            "deploy": {"replicas": 3, "endpoint_mode": "dnsrr", "resources": {"limits": {"memory": "1", "pids": 2}}},
        },
        "nginx": {
            "image": "warren/nginx:1",
            "networks": {"edge": None},
            "healthcheck": {"test": ["CMD", "curl", "http://127.0.0.1:8081/readyz"]},
            "volumes": [{"type": "volume", "source": "door", "target": "/run/door", "read_only": True}],
        },
        "door": {
            "image": "warren/door:1",
            "networks": {"public": None},
            "ports": [
                {"mode": "ingress", "host_ip": "127.0.0.1", "target": 8080, "published": "80", "protocol": "tcp"}
            ],
        },
        "postgres": {
            "image": "postgres:18",
            "read_only": True,
            "networks": {"edge": None},
            "tmpfs": ["/run/postgresql:uid=999"],
        },
        "secrets": {"image": "warren/trainer:1", "network_mode": "none"},
        "first-key": {"image": "warren/api:1", "profiles": ["by-hand"]},
    },
    "networks": {"edge": {"internal": True}, "broker": {"internal": True}, "public": {}},
    "volumes": {"datasets": {"name": "warren_datasets"}, "door": {"name": "warren_door"}},
}


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    return swarm.stack(CONFIG)


def test_what_swarm_does_not_read_is_left_out(written: dict[str, Any]) -> None:
    assert {*written} == {"version", "services", "networks", "volumes"}
    assert {*written["services"]} == {"api", "nginx", "postgres", "secrets"}
    refused = {"build", "depends_on", "restart", "profiles", "network_mode", "security_opt", "tmpfs", "command"}
    assert not refused & {*written["services"]["api"]}
    assert not refused & {*written["services"]["secrets"]}


def test_limits_mounts_and_networks_stay(written: dict[str, Any]) -> None:
    api = written["services"]["api"]
    assert api["deploy"]["replicas"] == 3
    assert api["deploy"]["endpoint_mode"] == "dnsrr"
    assert "endpoint_mode" not in written["services"]["nginx"]["deploy"], "published through Swarm's own balancer"
    assert api["deploy"]["resources"]["limits"] == {"memory": "1", "pids": 2}
    assert api["read_only"]
    assert api["volumes"][0] == {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": 67108864}}
    assert api["networks"] == ["edge", "broker"]
    assert written["networks"]["edge"] == {"driver": "overlay", "internal": True}
    assert "read_only" not in written["services"]["postgres"], "it could not write its socket"


def test_health_means_alive_and_updates_start_the_new_task_first_where_two_may_run(written: dict[str, Any]) -> None:
    services = written["services"]
    assert services["api"]["healthcheck"]["test"][-1] == "/livez"
    assert services["nginx"]["healthcheck"]["test"][-1] == "http://127.0.0.1:8081/livez"
    assert services["nginx"]["ports"] == [{"target": 8080, "published": 80, "protocol": "tcp"}]
    assert services["api"]["deploy"]["update_config"]["order"] == "start-first"
    assert services["postgres"]["deploy"]["update_config"]["order"] == "stop-first"
    assert services["secrets"]["deploy"]["restart_policy"]["condition"] == "on-failure"


def test_nginx_listens_by_itself_where_there_is_no_door(written: dict[str, Any]) -> None:
    nginx = written["services"]["nginx"]
    assert nginx["networks"] == ["edge", "public"]
    assert "volumes" not in nginx
    assert "door" not in written["volumes"]
    assert "endpoint_mode" not in nginx["deploy"], "published through Swarm's own balancer"


def test_it_is_a_filter(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(CONFIG)))
    assert swarm.main() == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(swarm.stack(CONFIG)))
