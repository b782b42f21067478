"""Nginx's configuration for a native stack, filled in from the one template.

In come a layout and the replicas' ports; out go the text of ``nginx.conf`` and the command that
runs it in the foreground, as the invoking user, with every file it writes under the stack's home.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.native.layout import CHECKOUT, DeploymentError, Layout
from wire.tls import Tls

TEMPLATE = CHECKOUT / "nginx" / "nginx.conf"
"""The configuration with ``${WARREN_…}`` left open."""
GRPC_TEMPLATE = CHECKOUT / "nginx" / "grpc.conf"
"""The part of it that listens for gRPC."""
TLS_TEMPLATE = CHECKOUT / "nginx" / "tls.conf"
"""The part of it that says how TLS is spoken."""

_OPEN = re.compile(r"\$\{([A-Z_]+)\}")
# One for each core of the machines that docs/capacity.md plans with. Measured were two cores and two workers only; each
# worker keeps up to 64 connections to the replicas.
_MAX_WORKERS = 8
# A worker that was reloaded finishes the longest request, or what a process may take to drain, and then some.
_LONGEST_S = 30
_SHUTDOWN_MARGIN_S = 10
FEW = 100 if (os.cpu_count() or 1) <= 2 else 10
"""Below this many connections all predictions go to one replica (docs/decisions/0028).

More of them where two cores serve everything than where a second replica has cores of its own.
"""
FEW_CONNECTIONS = rf"^\d{{1,{len(str(FEW)) - 1}}}$"
"""The same as a pattern."""
KEEPS_SINCE = (1, 27, 4)
"""The first version that, reloaded, does not close a kept connection at once."""
ADDRESSES_MB = 10
"""Memory in which Nginx counts: 80,000 addresses; the one that was quiet for longest gives way to a new one."""
NEVER = "^$"
"""The pattern of no number: predictions are spread like everything else."""


def find_nginx() -> str:
    """The program. Raises DeploymentError with what to install."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/nginx/sbin")
    if found is None:
        raise DeploymentError("Nginx is not installed: apt-get install nginx-light")
    return found


def version() -> tuple[int, ...]:
    """The installed program's, such as (1, 22, 1). Raises DeploymentError where there is none."""
    said = subprocess.run([find_nginx(), "-v"], capture_output=True, text=True, timeout=10, check=False).stderr
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else (0,)


def command(layout: Layout) -> list[str]:
    """The command that is Nginx, in the foreground, until SIGQUIT."""
    return [find_nginx(), "-p", str(layout.nginx), "-e", "stderr", "-c", str(layout.nginx_config), "-g", "daemon off;"]


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with every ``${NAME}`` replaced. Raises KeyError for a name without a value."""
    return _OPEN.sub(lambda match: values[match[1]], template)


def render(
    layout: Layout, few_connections: str = FEW_CONNECTIONS, version: tuple[int, ...] = (0,), drain_s: float = 0
) -> str:
    """``nginx.conf`` of this stack, for an Nginx of this version. With TLS it names the certificate by its content."""
    values = {
        **_values(layout, few_connections),
        "WARREN_NGINX_KEEPALIVE": _keepalive(version),
        "WARREN_NGINX_SHUTDOWN": f"{max(_LONGEST_S, int(drain_s)) + _SHUTDOWN_MARGIN_S}s",
    }
    grpc = fill(GRPC_TEMPLATE.read_text(), {**values, **_grpc(layout)}) if layout.grpc_port else ""
    return fill(TEMPLATE.read_text(), {**values, "WARREN_GRPC": grpc, "WARREN_TLS": _tls(layout.tls)})


def _values(layout: Layout, few_connections: str) -> dict[str, str]:
    servers = [f"server unix:{layout.replica_socket(number)} max_fails=0;" for number in range(1, layout.replicas + 1)]
    # Started by root, workers would become "nobody", who cannot reach the stack's folders.
    rate = layout.address_rate
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    return {
        "WARREN_NGINX_MAIN": user,
        "WARREN_NGINX_WORKERS": str(min(os.cpu_count() or 1, _MAX_WORKERS)),
        "WARREN_NGINX_RUN": str(layout.run),
        "WARREN_NGINX_HOME": str(layout.nginx),
        "WARREN_ADDRESS_ZONE": _zone(rate) if rate else "",
        # A second's worth may come at once, so that a page that asks twenty things is no offender.
        "WARREN_ADDRESS_LIMIT": f"limit_req zone=warren_addresses burst={rate} nodelay;" if rate else "",
        "WARREN_NGINX_ACCESS_LOG": "/dev/stdout",
        "WARREN_FEW_CONNECTIONS": few_connections,
        "WARREN_UPSTREAM_SERVERS": "\n        ".join(servers),
        "WARREN_TOGETHER_SERVERS": "\n        ".join(servers),
        "WARREN_REPLICA_COUNT": str(layout.replicas),
        "WARREN_CONNECT_TIMEOUT": "1s",
        "WARREN_DEAD": "error invalid_header",
        "WARREN_TRAIN_DEAD": "error invalid_header",
        "WARREN_TRAIN_KEY": '""',
        "WARREN_TRIES": "2",
        "WARREN_NO_ANSWER": "$warren_refusal",
        "WARREN_AGAIN": "proxy_pass http://warren_api;",
        "WARREN_SERVER_FILES": f"{layout.nginx}/server.d/*.conf",
        "WARREN_LISTEN": _listen(layout, layout.port),
    }


def _grpc(layout: Layout) -> dict[str, str]:
    """What the listener for gRPC needs beside the rest."""
    return {
        "WARREN_GRPC_LISTEN": f"listen {_listen(layout, layout.grpc_port)} default_server http2 backlog=1024;",
        "WARREN_GRPC_FILES": f"{layout.nginx}/grpc.d/*.conf",
        "WARREN_GRPC_NO_ANSWER": "=200 @unavailable",
    }


def _listen(layout: Layout, port: int) -> str:
    return f"{layout.listen}:{port}" + (" ssl" if layout.tls.on else "")


def _tls(tls: Tls) -> str:
    if tls.certificate_file is None:
        return ""
    values = {
        "WARREN_CERTIFICATE": str(tls.certificate_file),
        "WARREN_CERTIFICATE_KEY": str(tls.key_file),
        "WARREN_CERTIFICATE_DIGEST": hashlib.sha256(tls.certificate_file.read_bytes()).hexdigest(),
    }
    return fill(TLS_TEMPLATE.read_text(), values)


def _keepalive(version: tuple[int, ...]) -> str:
    # Reloaded or told to end, it keeps a connection that was used lately, so that a request on its way finds somebody.
    return "keepalive_min_timeout 10s;" if version >= KEEPS_SINCE else ""


def _zone(rate: int) -> str:
    return f"limit_req_zone $warren_counted zone=warren_addresses:{ADDRESSES_MB}m rate={rate}r/s;"


def write(layout: Layout, few_connections: str = FEW_CONNECTIONS, drain_s: float = 0) -> Path:
    """Render into the stack's home, and note where that changes something; the file's path."""
    text = render(layout, few_connections, version(), drain_s)
    if not layout.nginx_config.exists() or layout.nginx_config.read_text() != text:
        layout.nginx_unread.touch()
        layout.nginx_config.write_text(text)
    return layout.nginx_config
