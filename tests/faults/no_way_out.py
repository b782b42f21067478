"""A whole stack in a network of its own, whose only way out counts packets: ``unshare --net`` runs this module.

Prints how many packets wanted to leave while a table was uploaded, a model trained, asked, listed, handed
out and documented. The other end of the way out leads nowhere.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.acceptance.stack import Client
from tests.faults.stage import Stage

_WAY_OUT = "way-out"
_ELSEWHERE = "198.51.100.1"
_TABLE = b"x,y\n" + b"".join(b"%d,%d\n" % (x, 3 * x) for x in range(200))


def main() -> int:
    _network()
    with tempfile.TemporaryDirectory() as folder:
        _name_server_elsewhere(Path(folder) / "resolv.conf")
        before = _prove_that_it_counts()
        stage = Stage.set(woven=False)
        try:
            stage.up()
            with Client(stage.url) as client:
                _journey(client)
        finally:
            stage.remove()
        sys.stdout.write(f"packets {_left() - before}\n")
        subprocess.run(["umount", "/etc/resolv.conf"], check=True)
    return 0


def _network() -> None:
    for command in (
        "sysctl -q net.ipv6.conf.all.disable_ipv6=1",
        "sysctl -q net.ipv6.conf.default.disable_ipv6=1",
        "ip link set lo up",
        f"ip link add {_WAY_OUT} type veth peer name nowhere",
        f"ip addr add 192.0.2.1/24 dev {_WAY_OUT}",
        f"ip link set {_WAY_OUT} up",
        "ip link set nowhere up",
        f"ip route add default via 192.0.2.2 dev {_WAY_OUT}",
        f"ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev {_WAY_OUT}",
    ):
        subprocess.run(command.split(), check=True)


def _name_server_elsewhere(file: Path) -> None:
    """A name that is looked up has to leave, also where the machine's own name server is on the loopback."""
    file.write_text(f"nameserver {_ELSEWHERE}\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", file, "/etc/resolv.conf"], check=True)


def _prove_that_it_counts() -> int:
    """How many packets left for the proof."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", (_ELSEWHERE, 53))
    assert _left() == 1, "a packet that leaves is not counted"
    with contextlib.suppress(socket.gaierror):
        socket.getaddrinfo("elsewhere.example", 80)
    assert _left() > 1, "a name that is looked up is not counted"
    return _left()


def _left() -> int:
    told = subprocess.run(["ip", "-s", "-j", "link", "show", _WAY_OUT], check=True, capture_output=True, text=True)
    return int(json.loads(told.stdout)[0]["stats64"]["tx"]["packets"])


def _journey(client: Client) -> None:
    """Every kind of call that could make a service reach for something."""
    dataset = client.upload(_TABLE)["dataset_id"]
    result = client.trained(model="alone", dataset={"id": dataset}, target="y", estimator="LinearRegression")
    client.trained(model="alone", dataset={"sample": "diabetes"}, target="target", estimator="auto")
    assert client.predict(model="alone", version=result["version"], instances=[[7]])["predictions"]
    client.call("GET", "/models/alone", 200)
    client.call("POST", "/predict", 422, json={"model": "http://192.0.2.7/x", "instances": [[1]]})
    client.call("POST", "/train", 422, json={"model": "a", "dataset": {"id": "http://192.0.2.7/x"}, "target": "y"})
    for path in ("/docs", "/openapi.json", "/readyz"):
        assert client.http.get(path).status_code == 200


if __name__ == "__main__":
    sys.exit(main())
