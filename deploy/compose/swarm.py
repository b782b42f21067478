"""The Compose file the way ``docker stack deploy`` reads it: ``docker compose config --format json | python3 -m …``.

Between one description of the stack and its two engines. Swarm's reader is older than Compose's: it knows no
start conditions, no profiles and no build, wants overlay networks, and has its own ways to restart and update.
"""

from __future__ import annotations

import json
import sys
from typing import Any

VERSION = "3.9"
"""The newest form; the first that knows a limit on processes."""

DOOR = "door"
"""Swarm's own balancer holds the published port, so Nginx listens by itself there."""

ALONE = ("rabbitmq", "postgres")
"""Two of these on one volume would damage it: the old one ends before the new one starts."""

ONCE = ("secrets", "provision")
"""These end by themselves, and are started again until they succeed."""

_KEPT = (
    "image", "command", "entrypoint", "environment", "volumes", "healthcheck", "hostname", "init", "read_only",
    "cap_drop", "user", "logging", "stop_grace_period",
)  # fmt: skip


def stack(config: dict[str, Any]) -> dict[str, Any]:
    """The stack file's document for a resolved Compose project."""
    services = {name: one for name, one in config["services"].items() if not one.get("profiles") and name != DOOR}
    services["nginx"] = _without_door(services["nginx"], config["services"].get(DOOR, {}))
    return {
        "version": VERSION,
        "services": {name: _service(name, one) for name, one in services.items()},
        "networks": {
            name: {"driver": "overlay", "internal": bool(one.get("internal"))}
            for name, one in config["networks"].items()
        },
        "volumes": {name: {} for name in config["volumes"] if name != DOOR},
    }


def _without_door(nginx: dict[str, Any], door: dict[str, Any]) -> dict[str, Any]:
    return {
        **nginx,
        "ports": [*nginx.get("ports", []), *door.get("ports", [])],
        "networks": {**nginx.get("networks", {}), **door.get("networks", {})},
        "volumes": [one for one in nginx.get("volumes", []) if one.get("source") != DOOR],
    }


def _service(name: str, given: dict[str, Any]) -> dict[str, Any]:
    service = {key: given[key] for key in _KEPT if given.get(key) is not None}
    service["volumes"] = [_mount(one) for one in given.get("volumes", [])]
    if given.get("tmpfs"):
        # A temporary filesystem with an owner of its own is beyond Swarm's reader.
        del service["read_only"]
    # One that needs no network still gets the engine's own if it names none.
    service["networks"] = [*given.get("networks", {})] or ["database"]
    service["ports"] = [
        {"target": port["target"], "published": int(port["published"]), "protocol": "tcp"}
        for port in given.get("ports", [])
    ]
    if "healthcheck" in service:
        service["healthcheck"] = {**service["healthcheck"], "test": _alive(service["healthcheck"]["test"])}
    service["deploy"] = _deploy(name, given.get("deploy", {}), published=bool(given.get("ports")))
    return {key: value for key, value in service.items() if value != []}


def _mount(given: dict[str, Any]) -> dict[str, Any]:
    mount: dict[str, Any] = {key: given[key] for key in ("type", "source", "target", "read_only") if key in given}
    if "tmpfs" in given:
        mount["tmpfs"] = {"size": int(given["tmpfs"]["size"])}
    return mount


def _alive(test: list[str]) -> list[str]:
    """Swarm kills what is unhealthy, so health means alive: an outage of the broker must kill nobody."""
    if "deploy/compose/healthy.py" in test:
        return [*test, "/livez"]
    return [part.replace("/readyz", "/livez") for part in test]


def _deploy(name: str, given: dict[str, Any], *, published: bool) -> dict[str, Any]:
    limits = given.get("resources", {}).get("limits", {})
    deploy: dict[str, Any] = {
        "replicas": int(given.get("replicas", 1)),
        "resources": {"limits": {key: limits[key] for key in ("memory", "pids") if key in limits}},
        "restart_policy": {"condition": "on-failure" if name in ONCE else "any", "delay": "2s"},
        "update_config": {"order": "stop-first" if name in ALONE else "start-first", "failure_action": "rollback"},
    }
    if not published:
        # A name stands for the tasks themselves: Swarm's virtual addresses forget connections that are
        # quiet for 15 minutes, and Nginx is to know the replicas one by one.
        deploy["endpoint_mode"] = "dnsrr"
    return deploy


def main() -> int:
    """From standard input to standard output."""
    # JSON is YAML.
    sys.stdout.write(json.dumps(stack(json.load(sys.stdin)), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
