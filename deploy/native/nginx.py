"""Nginx's configuration for a native stack, filled in from the one template.

In come a layout and the replicas' ports; out go the text of ``nginx.conf`` and the command that
runs it in the foreground, as the invoking user, with every file it writes under the stack's home.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from deploy.native.layout import CHECKOUT, DeploymentError, Layout
from deploy.native.ports import REPLICAS

TEMPLATE = CHECKOUT / "nginx" / "nginx.conf"
"""The configuration with ``${WARREN_…}`` left open."""

_OPEN = re.compile(r"\$\{([A-Z_]+)\}")
_MAX_WORKERS = 2


def find_nginx() -> str:
    """The program. Raises DeploymentError with what to install."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/nginx/sbin")
    if found is None:
        raise DeploymentError("Nginx is not installed: apt-get install nginx-light")
    return found


def command(layout: Layout) -> list[str]:
    """The command that is Nginx, in the foreground, until SIGQUIT."""
    return [find_nginx(), "-p", str(layout.nginx), "-e", "stderr", "-c", str(layout.nginx_config), "-g", "daemon off;"]


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with every ``${NAME}`` replaced. Raises KeyError for a name without a value."""
    return _OPEN.sub(lambda match: values[match[1]], template)


def render(layout: Layout) -> str:
    """``nginx.conf`` of this stack."""
    servers = [f"server unix:{layout.replica_socket(number)} max_fails=0;" for number in range(1, REPLICAS + 1)]
    # Started by root, workers would become "nobody", who cannot reach the stack's folders.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    return fill(
        TEMPLATE.read_text(),
        {
            "WARREN_NGINX_MAIN": user,
            "WARREN_NGINX_WORKERS": str(min(os.cpu_count() or 1, _MAX_WORKERS)),
            "WARREN_NGINX_RUN": str(layout.run),
            "WARREN_NGINX_HOME": str(layout.nginx),
            "WARREN_NGINX_ACCESS_LOG": "/dev/stdout",
            "WARREN_UPSTREAM_SERVERS": "\n        ".join(servers),
            "WARREN_CONNECT_TIMEOUT": "1s",
            "WARREN_DEAD": "error invalid_header",
            "WARREN_TRAIN_DEAD": "error invalid_header",
            "WARREN_TRAIN_KEY": '""',
            "WARREN_TRIES": "2",
            "WARREN_NO_ANSWER": "/_problem",
            "WARREN_SERVER_FILES": f"{layout.nginx}/server.d/*.conf",
            "WARREN_LISTEN": f"{layout.listen}:{layout.port}",
        },
    )


def write(layout: Layout) -> Path:
    """Render into the stack's home; the file's path."""
    layout.nginx_config.write_text(render(layout))
    return layout.nginx_config
