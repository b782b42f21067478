"""From images to a prediction, and how little each container may do, as read from inside."""

import json
import re
import uuid

import httpx
import pytest

from tests.acceptance.stack import Client
from tests.compose.containers import ONCE, SERVICES, Compose
from tests.source_tree import CHECKOUT

MIB = 1024 * 1024
USERS = {"nginx": 101, "rabbitmq": 999, "postgres": 999}
OURS = 10001


def fresh(name: str) -> str:
    """A name no model of a stack that was here before has."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def test_a_model_is_trained_and_served(compose: Compose, client: Client) -> None:
    ask = {"model": fresh("first"), "dataset": {"sample": "iris"}, "target": "target", "estimator": "GaussianNB"}
    assert client.trained(**ask)["version"] == 1
    assert client.predict(model=ask["model"], instances=[[5.1, 3.5, 1.4, 0.2]])["predictions"] == ["setosa"]


def test_an_uploaded_table_reaches_the_trainer(client: Client) -> None:
    uploaded = client.upload((CHECKOUT / "docs" / "examples" / "customers.csv").read_bytes())
    model = fresh("churn")
    assert client.trained(model=model, dataset={"id": uploaded["dataset_id"]}, target="left")["version"] == 1
    assert client.predict(model=model, instances=[{"age": 31, "plan": "basic"}])["predictions"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_runs_as_nobody_in_particular_with_no_rights_and_a_root_it_cannot_write(
    compose: Compose, service: str
) -> None:
    for container in compose.containers(service):
        status = dict(re.findall(r"(\w+):\t(.*)", compose.inside(container, "cat", "/proc/self/status")))
        assert {*status["Uid"].split(), *status["Gid"].split()} == {str(USERS.get(service, OURS))}
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"
        for path in ("/x", "/etc/x", "/usr/x", "/srv/x", "/opt/x"):
            assert "Read-only" in compose.inside(container, "sh", "-c", f"touch {path} 2>&1; true")
        processes = compose.run("docker", "top", container, "-eo", "pid,uid").split()[2:]
        assert {*processes[1::2]} == {str(USERS.get(service, OURS))}, "and so does all that it started"


def test_every_container_has_limits_and_enough_time_to_end(compose: Compose) -> None:
    for service in (*SERVICES, *ONCE):
        for container in compose.containers(service):
            host = compose.inspect(container)["HostConfig"]
            assert host["Memory"] > 0, service
            assert host["PidsLimit"] > 0, service
            assert host["CapDrop"] == ["ALL"], service
            assert host["ReadonlyRootfs"], service
            assert not host["Privileged"], service
    for service in ("door", "nginx", "api", "worker", "trainer", "predictor"):
        [container, *_] = compose.containers(service)
        assert compose.inspect(container)["Config"]["StopTimeout"] > 30, "longer than the drain"


def test_only_the_door_of_nginx_is_published_and_on_loopback(compose: Compose) -> None:
    published = {
        service: [
            (binding["HostIp"], binding["HostPort"])
            for container in compose.containers(service)
            for bindings in compose.inspect(container)["NetworkSettings"]["Ports"].values()
            for binding in bindings or []
        ]
        for service in SERVICES
    }
    assert sorted(published.pop("door")) == [("127.0.0.1", str(compose.port)), ("127.0.0.1", str(compose.port + 1))]
    assert not any(published.values())


def test_a_service_reaches_only_whom_it_needs(compose: Compose) -> None:
    for service, wanted in {
        "door": {"public"},
        "nginx": {"edge"},
        "api": {"edge", "broker", "database"},
        "worker": {"broker", "database"},
        "trainer": {"broker"},
        "predictor": {"broker"},
        "rabbitmq": {"broker"},
        "postgres": {"database"},
    }.items():
        for container in compose.containers(service):
            networks = compose.inspect(container)["NetworkSettings"]["Networks"]
            assert {name.removeprefix(f"{compose.project}_") for name in networks} == wanted
    for name in ("edge", "broker", "database"):
        [network] = json.loads(compose.run("docker", "network", "inspect", f"{compose.project}_{name}"))
        assert network["Internal"], "nothing in it reaches the world"


def test_volumes_are_mounted_where_they_are_needed_and_read_only_where_that_is_enough(compose: Compose) -> None:
    def mounts(service: str) -> dict[str, bool]:
        found = [compose.inspect(container)["Mounts"] for container in compose.containers(service)]
        return {
            mount["Name"].removeprefix(f"{compose.project}_"): mount["RW"]
            for one in found
            for mount in one
            if mount["Type"] == "volume"
        }

    assert mounts("door") == {"door": True}
    assert mounts("nginx") == {"door": False}
    assert mounts("api") == {"datasets": True, "predictions": False, "api-secrets": False}
    assert mounts("worker") == {"datasets": True, "predictions": True, "worker-secrets": False}
    assert mounts("trainer") == {"datasets": False, "predictions": True, "models": True, "trainer-secrets": False}
    assert mounts("predictor") == {"models": False, "predictor-secrets": False}
    assert mounts("rabbitmq") == {"rabbitmq": True, "rabbitmq-secrets": False}
    assert mounts("postgres") == {"postgres": True, "postgres-secrets": False}
    for container in compose.containers("predictor"):
        assert "Read-only" in compose.inside(container, "sh", "-c", "touch /data/models/x 2>&1; true")
    [trainer] = compose.containers("trainer")
    assert "Read-only" in compose.inside(trainer, "sh", "-c", "touch /data/datasets/x 2>&1; true")


def test_no_secret_stands_in_the_file_an_image_or_an_environment(compose: Compose) -> None:
    secrets = {
        line
        for service in ("api", "worker", "trainer", "predictor", "postgres")
        for container in compose.containers(service)[:1]
        for line in compose.inside(
            container, "sh", "-c", "for f in /secrets/own/*.password; do cat $f; echo; done"
        ).split()
    }
    assert len(secrets) == 6
    described = [compose("config")]
    for service in (*SERVICES, *ONCE):
        for container in compose.containers(service):
            found = compose.inspect(container)
            described += [json.dumps(found), compose.run("docker", "image", "inspect", found["Image"])]
            described.append(compose.run("docker", "history", "--no-trunc", found["Image"]))
    described += [compose.logs(service) for service in (*SERVICES, *ONCE)]
    assert not [secret[:4] for secret in secrets if any(secret in text for text in described)]


def test_the_replicas_image_has_neither_numerical_libraries_nor_a_place_for_models(compose: Compose) -> None:
    [replica, *_] = compose.containers("api")
    have = "import importlib.util as u; print([n for n in {!r} if u.find_spec(n)])"
    heavy = ("numpy", "pandas", "sklearn", "scipy", "onnxruntime", "pyarrow", "trainer", "predictor", "model_store")
    assert compose.inside(replica, "python", "-c", have.format(heavy)).strip() == "[]"
    assert compose.inside(replica, "sh", "-c", "ls -d /data/models 2>/dev/null; true") == ""


def test_calls_need_a_key_and_the_first_one_is_shown_once(compose: Compose) -> None:
    assert httpx.get(f"{compose.url}/models", trust_env=False).status_code == 401
    shown = compose("run", "--rm", "first-key", check=False).strip()
    if shown:  # on a stack that was here before, somebody may have looked
        with Client(compose.url, shown) as admin:
            owners = {key["owner"] for key in admin.call("GET", "/keys", 200)["keys"]}
        assert "admin" in owners
    assert compose("run", "--rm", "first-key", check=False) == ""


def test_images_stay_small(compose: Compose) -> None:
    """What we add to the base, in MiB; the README's figures are these, rounded up."""
    base = compose.image_bytes("python:3.13-slim")
    added = {
        name: (compose.image_bytes(f"warren/{name}:latest") - base) / MIB for name in ("api", "predictor", "trainer")
    }
    limits = {"api": 120, "predictor": 400, "trainer": 600}
    assert all(added[name] < limits[name] for name in added), added
