"""What the broker is told to hold, and that it then allows each role what the table says and nothing else."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from tests.rabbit import Rabbit
from wire import provision, topology

CONFIGURATION = Path(__file__).parents[3] / "rabbitmq" / "rabbitmq.conf"
PASSWORDS: dict[topology.Role, str] = {role: f"secret of {role}" for role in topology.ROLES}


def test_the_largest_message_is_that_of_the_brokers_configuration() -> None:
    lines = CONFIGURATION.read_text().splitlines()
    assert [line for line in lines if line.startswith("max_message_size")] == [
        f"max_message_size = {topology.MAX_MESSAGE_BYTES}"
    ]


def test_passwords_are_salted_and_hashed() -> None:
    for user in provision.definitions(PASSWORDS)["users"]:
        raw = base64.b64decode(user["password_hash"])
        assert raw[4:] == hashlib.sha256(raw[:4] + PASSWORDS[user["name"]].encode()).digest()
        assert [role for role in PASSWORDS if provision.fits(user["password_hash"], PASSWORDS[role])] == [user["name"]]
        assert user["tags"] == ""


def test_the_same_password_is_never_hashed_to_the_same_text() -> None:
    first, second = (provision.definitions({"api": "x"})["users"][0]["password_hash"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("role", topology.ROLES)
def test_no_role_reaches_the_default_exchange(role: topology.Role) -> None:
    for right in provision.permissions(role).values():
        assert not re.match(right, "amq.default")
        assert not re.match(right, "")


def test_a_role_configures_its_own_queues_and_nothing_shared() -> None:
    shared = [*(queue.name for queue in topology.QUEUES), *(exchange.name for exchange in topology.EXCHANGES)]
    for role in topology.ROLES:
        configure = provision.permissions(role)["configure"]
        assert not any(re.match(configure, name) for name in shared)
        for other in topology.ROLES:
            own = re.match(configure, topology.reply_queue(other, "x-1.1")) is not None
            assert own == (other == role and role != "predictor")


def test_a_role_without_queues_of_its_own_may_configure_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "EXCHANGES", ())
    assert provision.permissions("api")["configure"] == provision.NOTHING


def operations() -> Iterator[tuple[str, str]]:
    for exchange in topology.EXCHANGES:
        yield "publish", exchange.name
    yield "publish", ""
    for queue in topology.QUEUES:
        yield "consume", queue.name
        yield "purge", queue.name
        yield "delete", queue.name
    for other, make in itertools.product(topology.ROLES, (topology.reply_queue, topology.inbox_queue)):
        yield "declare", make(other, "x")


def allowed(role: topology.Role, operation: str, name: str) -> bool:
    """What the topology table says."""
    if operation == "publish":
        return any(exchange.name == name and role in exchange.writers for exchange in topology.EXCHANGES)
    if operation in ("consume", "purge"):
        return any(queue.name == name and role in queue.readers for queue in topology.QUEUES)
    if operation == "delete":
        return False
    kind, owner, _ = name.split(".")
    bound = {"reply": "direct", "inbox": "fanout"}.get(kind)
    return owner == role and any(role in one.binders and one.kind == bound for one in topology.EXCHANGES)


def attempt(channel: pika.adapters.blocking_connection.BlockingChannel, operation: str, name: str) -> None:
    if operation == "publish":
        channel.confirm_delivery()
        channel.basic_publish(name, "nobody", b"")
    elif operation == "consume":
        channel.basic_consume(name, lambda *_: None)
    elif operation == "purge":
        channel.queue_purge(name)
    elif operation == "delete":
        channel.queue_delete(name)
    else:
        channel.queue_declare(name, exclusive=True)


@pytest.fixture(scope="module")
def provisioned(rabbitmq: Rabbit) -> Iterator[str]:
    """A virtual host made from the definitions document alone."""
    vhost = "provisioned"
    rabbitmq.api("POST", "/definitions", provision.definitions(PASSWORDS, vhost))
    yield vhost
    rabbitmq.api("DELETE", f"/vhosts/{vhost}")
    for role in topology.ROLES:
        rabbitmq.api("DELETE", f"/users/{role}")


def test_the_broker_holds_what_the_table_says(rabbitmq: Rabbit, provisioned: str) -> None:
    queues = {one["name"]: one["arguments"] for one in rabbitmq.api("GET", f"/queues/{provisioned}")}
    assert queues == {queue.name: queue.arguments for queue in topology.QUEUES}
    exchanges = {one["name"]: one["type"] for one in rabbitmq.api("GET", f"/exchanges/{provisioned}")}
    assert {name: kind for name, kind in exchanges.items() if not name.startswith("amq.") and name} == {
        exchange.name: exchange.kind for exchange in topology.EXCHANGES
    }


def test_declaring_what_the_definitions_hold_changes_nothing(rabbitmq: Rabbit, provisioned: str) -> None:
    rabbitmq.api("PUT", f"/permissions/{provisioned}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    with rabbitmq.channel(provisioned) as channel:
        provision.declare(channel)


@pytest.mark.parametrize("role", topology.ROLES)
def test_each_role_may_do_exactly_what_the_table_says(rabbitmq: Rabbit, provisioned: str, role: topology.Role) -> None:
    wrong = []
    with rabbitmq.channel(provisioned, role, PASSWORDS[role]) as first:
        for operation, name in operations():
            channel = first.connection.channel()
            try:
                attempt(channel, operation, name)
            except pika.exceptions.ChannelClosedByBroker as refusal:
                if refusal.reply_code != 403:
                    raise
                done = False
            except pika.exceptions.UnroutableError:
                done = True
            else:
                done = True
                channel.close()
            if done != allowed(role, operation, name):
                wrong.append((operation, name, done))
    assert not wrong
