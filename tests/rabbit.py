"""A private RabbitMQ node for tests: virtual hosts to be alone in, and faults from outside."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pika

from deploy.native.broker import HOST, Node, Ports
from wire import provision, settings, telemetry


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 30.0, *, every_s: float = 0.01) -> None:
    """Wait for a condition, and say what did not happen when it does not come; it is looked at ``every_s``."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(every_s)


async def eventually(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """The same on an event loop, which goes on meanwhile."""
    await asyncio.to_thread(wait_until, condition, what, timeout_s)


def connects(*parts_of_name: str) -> float:
    """How often this process opened a connection whose name contains all of this: a loss is too short to be seen."""
    return sum(
        sample.value
        for metric in telemetry.broker_connects.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and all(part in sample.labels["connection"] for part in parts_of_name)
    )


class _ObservedNode(Node):
    """A node whose management API shows connections after one second instead of five."""

    def prepare(self) -> None:
        super().prepare()
        policies = "[{global, [{605, 1}]}, {basic, [{605, 1}]}, {detailed, [{10, 1}]}]"
        advanced = f"[{{rabbitmq_management_agent, [{{sample_retention_policies, {policies}}}]}}].\n"
        (self.home / "advanced.config").write_text(advanced)


class Rabbit:
    """The node, with its management plugin, which only tests use."""

    def __init__(self, home: Path) -> None:
        self._api_port = Ports.free().amqp
        self.node = _ObservedNode(
            home,
            Ports.free(),
            plugins=["rabbitmq_management"],
            extra_config=[
                f"management.tcp.ip = {HOST}",
                f"management.tcp.port = {self._api_port}",
                "collect_statistics_interval = 1000",
            ],
        )
        self._http = httpx.Client(
            base_url=f"http://{HOST}:{self._api_port}/api", auth=("guest", "guest"), timeout=30, trust_env=False
        )

    def start(self) -> None:
        self.node.start()
        self.node.wait_ready(150)
        wait_until(self._api_answers, "the management API answers", 30)

    def stop(self) -> None:
        self._http.close()
        self.node.stop()

    def _api_answers(self) -> bool:
        try:
            return self._http.get("/overview").status_code == 200
        except httpx.HTTPError:
            return False

    def api(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    @contextlib.contextmanager
    def fresh_vhost(self, **overrides: Any) -> Iterator[settings.Broker]:
        """Settings of a virtual host of one's own that holds the whole topology."""
        vhost = f"test-{uuid.uuid4().hex[:12]}"
        self.api("PUT", f"/vhosts/{vhost}")
        self.api("PUT", f"/permissions/{vhost}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
        broker = settings.Broker(host=HOST, port=self.node.ports.amqp, vhost=vhost, **overrides)
        with self.channel(vhost) as channel:
            provision.declare(channel)
        try:
            yield broker
        finally:
            self.api("DELETE", f"/vhosts/{vhost}")

    @contextlib.contextmanager
    def channel(self, vhost: str, user: str = "guest", password: str = "guest") -> Iterator[Any]:
        """A blocking channel with a connection of its own."""
        parameters = pika.ConnectionParameters(
            HOST, self.node.ports.amqp, vhost, pika.PlainCredentials(user, password), socket_timeout=10
        )
        connection = pika.BlockingConnection(parameters)
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()

    def connections(self, vhost: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("GET", f"/vhosts/{vhost}/connections")
        return [one for one in found if one.get("client_properties")]

    def close_connections(self, vhost: str, *parts_of_name: str) -> None:
        """Close the connections whose own name contains all of this, once the API shows one."""

        def named() -> list[str]:
            names = {
                one["name"]: one["client_properties"].get("connection_name", "") for one in self.connections(vhost)
            }
            return [name for name, own in names.items() if all(part in own for part in parts_of_name)]

        expected = 1 if len(parts_of_name) > 1 else 2
        wait_until(lambda: len(named()) >= expected, f"{expected} connections named {parts_of_name}")
        for name in named():
            self._http.delete(f"/connections/{quote(name, safe='')}", headers={"X-Reason": "a test"})

    @contextlib.contextmanager
    def alarm(self) -> Iterator[None]:
        """The broker counts as out of memory: publishers are blocked."""
        self.node.ctl("set_vm_memory_high_watermark", "0")
        try:
            yield
        finally:
            self.node.ctl("set_vm_memory_high_watermark", "0.25")

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The broker is down, its node alive."""
        self.node.ctl("stop_app")
        try:
            yield
        finally:
            self.node.ctl("start_app")
            wait_until(self._api_answers, "the management API answers", 30)

    @contextlib.contextmanager
    def killed(self) -> Iterator[None]:
        """The broker's process is gone at once; afterwards a new one begins on the same folder."""
        self.node.kill()
        try:
            yield
        finally:
            self.start()
