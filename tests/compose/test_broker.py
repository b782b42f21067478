"""The broker of the Compose stack: rights by the topology table, and nothing that RabbitMQ is about to drop."""

import errno
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pika
import pytest
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel

from tests.compose.containers import Compose
from wire import provision, topology

VHOST = "warren"
REFUSED = 403


@dataclass
class Broker:
    """The broker's address on its network, and the services' passwords."""

    host: str
    passwords: dict[str, str]

    def connect(self, user: str, password: str) -> pika.BlockingConnection:
        credentials = pika.PlainCredentials(user, password)
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                self.host, 5672, VHOST, credentials, socket_timeout=10, blocked_connection_timeout=10
            )
        )


@pytest.fixture(scope="module")
def broker(compose: Compose) -> Broker:
    [container] = compose.containers("rabbitmq")
    [network] = compose.inspect(container)["NetworkSettings"]["Networks"].values()
    passwords = {
        role: compose.inside(compose.containers(role)[0], "cat", "/secrets/own/broker.password").strip()
        for role in topology.ROLES
    }
    return Broker(network["IPAddress"], passwords)


@pytest.fixture(params=topology.ROLES)
def role(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Attempts:
    """Asks the broker on a channel of its own each time; a refusal closes the channel, not the connection."""

    def __init__(self, connection: pika.BlockingConnection) -> None:
        self._connection = connection

    def allowed(self, operation: str, *names: str) -> bool:
        channel = self._connection.channel()
        try:
            getattr(self, f"_{operation}")(channel, *names)
        except exceptions.ChannelClosedByBroker as closed:
            if closed.reply_code != REFUSED:
                raise
            return False
        else:
            channel.close()
            return True

    @staticmethod
    def _publish(channel: BlockingChannel, exchange: str) -> None:
        channel.confirm_delivery()
        try:
            # A key that no binding has: allowed or refused, nobody receives it.
            channel.basic_publish(exchange, "nobody.listens.here", b"{}", mandatory=True)
        except exceptions.UnroutableError:
            return

    @staticmethod
    def _publish_to_own_queue(channel: BlockingChannel, _queue: str) -> None:
        Attempts._publish(channel, "")

    @staticmethod
    def _consume(channel: BlockingChannel, queue: str) -> None:
        # Nothing is taken: the next message, if there is any, goes back.
        channel.basic_qos(prefetch_count=1)
        tag = channel.basic_consume(queue, lambda *_: None, auto_ack=False)
        channel.basic_cancel(tag)

    @staticmethod
    def _purge(channel: BlockingChannel, queue: str) -> None:
        channel.queue_purge(queue)

    @staticmethod
    def _delete_queue(channel: BlockingChannel, queue: str) -> None:
        channel.queue_delete(queue)

    @staticmethod
    def _delete_exchange(channel: BlockingChannel, exchange: str) -> None:
        channel.exchange_delete(exchange)

    @staticmethod
    def _declare_queue(channel: BlockingChannel, queue: str) -> None:
        channel.queue_declare(queue, durable=True, exclusive=False)

    @staticmethod
    def _declare_exchange(channel: BlockingChannel, exchange: str) -> None:
        channel.exchange_declare(exchange, "direct", durable=True)

    @staticmethod
    def _bind(channel: BlockingChannel, queue: str, exchange: str) -> None:
        channel.queue_bind(queue, exchange, "x")
        channel.queue_unbind(queue, exchange, "x")


@pytest.fixture
def attempts(broker: Broker, role: str) -> Iterator[Attempts]:
    connection = broker.connect(role, broker.passwords[role])
    try:
        yield Attempts(connection)
    finally:
        connection.close()


def test_a_service_publishes_only_where_the_table_says(attempts: Attempts, role: str) -> None:
    # Publishing to a fanout reaches everybody, whatever the key; the rights are the same kind.
    exchanges = [one.name for one in topology.EXCHANGES if one.kind == "direct"]
    expected = {one.name for one in topology.EXCHANGES if role in one.writers and one.kind == "direct"}
    assert {name for name in exchanges if attempts.allowed("publish", name)} == expected
    assert not attempts.allowed("publish", ""), "the default exchange reaches every queue"
    for name in ("amq.direct", "amq.topic", "amq.fanout"):
        assert not attempts.allowed("publish", name)


def test_a_service_consumes_only_what_the_table_says(attempts: Attempts, role: str) -> None:
    # Who may read may also purge: RabbitMQ has one right for both.
    foreign = [queue.name for queue in topology.QUEUES if role not in queue.readers]
    assert foreign
    assert not [name for name in foreign if attempts.allowed("consume", name)]
    assert not [name for name in foreign if attempts.allowed("purge", name)]


def test_a_service_declares_deletes_and_binds_nothing_that_is_shared(attempts: Attempts, role: str) -> None:
    queues = [queue.name for queue in topology.QUEUES]
    exchanges = [exchange.name for exchange in topology.EXCHANGES]
    assert not [name for name in (*queues, "mine") if attempts.allowed("declare_queue", name)]
    assert not [name for name in (*exchanges, "mine") if attempts.allowed("declare_exchange", name)]
    assert not [name for name in queues if attempts.allowed("delete_queue", name)]
    assert not [name for name in exchanges if attempts.allowed("delete_exchange", name)]
    # RabbitMQ's rights go by name, and queue and exchange have one. So a service may tie a queue it
    # publishes to, to an exchange whose queue it reads: what it could read and send on by itself.
    writes = {exchange.name for exchange in topology.EXCHANGES if role in exchange.writers}
    reads = {queue.name for queue in topology.QUEUES if role in queue.readers}
    reads |= {exchange.name for exchange in topology.EXCHANGES if role in exchange.binders}
    expected = {
        (queue, exchange) for queue in queues for exchange in exchanges if queue in writes and exchange in reads
    }
    assert {(a, b) for a in queues for b in exchanges if attempts.allowed("bind", a, b)} == expected


def test_a_service_has_the_three_rights_of_the_table_and_no_tag(compose: Compose, role: str) -> None:
    [container] = compose.containers("rabbitmq")
    asked = compose.inside(container, "rabbitmqctl", "-q", "--formatter", "json", "list_user_permissions", role)
    [rights] = json.loads(asked)
    assert rights == {"vhost": VHOST, **provision.permissions(role)}  # type: ignore[arg-type]


def test_there_is_nobody_else_and_guest_is_refused(compose: Compose, broker: Broker) -> None:
    [container] = compose.containers("rabbitmq")
    users = json.loads(compose.inside(container, "rabbitmqctl", "-q", "--formatter", "json", "list_users"))
    assert {user["user"]: user["tags"] for user in users} == {role: [] for role in topology.ROLES}
    for user, password in (("guest", "guest"), ("api", "guest"), ("api", "")):
        with pytest.raises((exceptions.ProbableAuthenticationError, exceptions.AMQPConnectionError)):
            broker.connect(user, password)


def test_the_management_interface_is_not_there(compose: Compose) -> None:
    [container] = compose.containers("rabbitmq")
    asked = compose.inside(container, "sh", "-c", "curl -s -m 2 http://127.0.0.1:15672/ >/dev/null; echo $?")
    assert asked.strip() == "7", "connection refused"


def test_its_network_reaches_amqp_and_nothing_of_erlangs(compose: Compose) -> None:
    [container] = compose.containers("rabbitmq")
    erlangs = ("4369", "25672")
    for port in erlangs:
        # They are there: rabbitmqctl needs them.
        compose.inside(container, "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}")
    probe = (
        "import socket, sys; one = socket.socket(); one.settimeout(5); "
        "print(one.connect_ex((sys.argv[1], int(sys.argv[2]))))"
    )
    other = compose.containers("predictor")[0]
    found = {
        port: int(compose.inside(other, "python", "-S", "-I", "-c", probe, "rabbitmq", port))
        for port in ("5672", *erlangs)
    }
    assert found == {"5672": 0, "4369": errno.ECONNREFUSED, "25672": errno.ECONNREFUSED}


def test_queues_are_durable_but_those_of_one_connection(compose: Compose) -> None:
    [container] = compose.containers("rabbitmq")
    columns = ("name", "durable", "exclusive", "type")
    asked = compose.inside(container, "rabbitmqctl", "-q", "--formatter", "json", "list_queues", "-p", VHOST, *columns)
    queues = json.loads(asked)
    shared = {queue["name"] for queue in queues if not queue["exclusive"]}
    assert shared == {queue.name for queue in topology.QUEUES}
    assert all(queue["durable"] for queue in queues if not queue["exclusive"])
    assert all(queue["name"].startswith(("reply.", "inbox.")) for queue in queues if queue["exclusive"])


def test_the_broker_has_seen_nothing_deprecated_or_refused(compose: Compose) -> None:
    """Celery's queues included: control, events and delayed delivery would need what RabbitMQ 4.3 refuses."""
    [container] = compose.containers("rabbitmq")
    expression = "rabbit_deprecated_features:list(used)."
    assert compose.inside(container, "rabbitmqctl", "-q", "eval", expression).strip() in ("#{}", "[]")
    for line in compose.logs("rabbitmq").splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            assert "eprecated" not in said["msg"], said
            assert said["level"] not in ("error", "critical"), said
