"""A container's health check: is the process in it ready? ``python -S -I healthy.py PORT [PATH]``.

Asks ``/readyz`` (or another path) of the process beside it and ends with 0 when the answer is 200. Imports nothing
but the standard library's HTTP client, because it runs every few seconds in every container.
"""

from __future__ import annotations

import http.client
import sys

_TIMEOUT_S = 4.0


def main(port: str, path: str = "/readyz") -> int:
    """0 when the process on this port says that it is ready; else 1, with the reason for `docker inspect`."""
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        reason = answer.read(500).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        answer, reason = None, str(error)
    if answer is not None and answer.status == http.HTTPStatus.OK:
        return 0
    sys.stderr.write(f"{reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
