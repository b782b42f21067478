"""Names that lead elsewhere, and requests that carry one in each place that takes a string."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any, Final

from tests.faults.raw import request

ALLOWED = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""The names a model or an alias may have."""

_FIXED = (
    "..",
    "../..",
    "../../etc/passwd",
    "..\\..",
    "%2e%2e",
    "%2e%2e%2f",
    "....//",
    "/etc/passwd",
    "//x",
    "C:\\x",
    "CON",
    "NUL",
    "aux.txt",
    ".tmp",
    ".trash",
    ".",
    "",
    " ",
    "a ",
    " a",
    "a\n",
    "a\r\n",
    "a\0",
    "\0",
    "a/b",
    "a\\b",
    "a;b",
    "a|b",
    "a$b",
    "`id`",
    "$(id)",
    "a'b",
    'a"b',
    "A",
    "Abc",
    "ABC",
    "_a",
    "-a",
    "a.b",
    "a:b",
    "a@b",
    "a#b",
    "a?b",
    "a%b",
    "a+b",
    "é",
    "e\u0301",
    "\uff41",
    "\u0430dmin",
    "a\u200bb",
    "\u202egnp",
    "\ufeffa",
    "😀",
    "ß",
    "\u0131",
    "\u017f",
    "a" * 65,
    "a" * 500,
    "a" * 64,
    "v00000001",
    "by-job",
    "aliases",
    "__proto__",
    "null",
    "true",
    "1",
    "0",
    "a\tb",
    "a\x7f",
    "a\x1b[31m",
    "%00",
    "%0a",
    "file:///etc/passwd",
    "http://127.0.0.1/",
    "//127.0.0.1/x",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "' OR 1=1 --",
    "*",
    "~",
)


def names(draw: random.Random) -> list[str]:
    """About a thousand names, most of them refused: the known tricks, their mixtures, and noise."""
    found = list(_FIXED)
    pieces = [
        "..",
        "/",
        "\\",
        "%2e",
        "%2f",
        "%5c",
        "%00",
        ".",
        "a",
        "etc",
        "passwd",
        "\u2025",
        "\u2215",
        "\uff0e",
        " ",
        "models",
    ]
    while len(found) < 800:
        found.append("".join(draw.choice(pieces) for _ in range(draw.randrange(2, 8))))
    while len(found) < 1_000:
        found.append(
            "".join(chr(draw.choice((draw.randrange(1, 128), draw.randrange(0xA0, 0xD7FF)))) for _ in range(6))
        )
    return found


TRAIN: Final = "/train"
"""The call that may make a folder of the name it is given."""
_NO_ID = "0" * 32
# Each is refused for what it names, whatever string stands in the place of one of its own.
_BODIES: dict[str, dict[str, Any]] = {
    "/predict": {"model": "nobody", "instances": [{"x": "1"}]},
    "/train": {
        "model": "nobody",
        "dataset": {"id": _NO_ID},
        "target": "target",
        "estimator": "GaussianNB",
        "promote": "never",
        "validation": {"order_by": "x"},
    },
    "/batch-predictions": {"model": "oracle", "dataset": {"id": _NO_ID}, "alias": "champion"},
    "/keys": {"owner": "nobody", "scopes": ["nothing"], "days": 3},
    "/v2/models/oracle/versions/99/infer": {
        "id": "1",
        "inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [1], "parameters": {"a": "b"}}],
        "outputs": [{"name": "predict"}],
    },
    "/v1/models/oracle/versions/99:predict": {"signature_name": "serving_default", "instances": [{"x": "1"}]},
    "/mlflow/nobody/invocations": {"dataframe_split": {"columns": ["x"], "data": [["1"]]}, "params": {"a": "b"}},
}
_PATHS = (
    ("DELETE", "/models/{}"),
    ("GET", "/models/{}"),
    ("DELETE", "/models/nobody/versions/{}"),
    ("POST", "/models/{}/rollback"),
    ("GET", "/datasets/{}"),
    ("DELETE", "/datasets/{}"),
    ("GET", "/jobs/{}"),
    ("GET", "/jobs/{}/output"),
    ("POST", "/jobs/{}/cancel"),
    ("GET", "/jobs/nobody/output?format={}"),
    ("DELETE", "/keys/{}"),
    ("GET", "/models/oracle/versions/1/files/{}"),
    ("GET", "/v2/models/{}/versions/99"),
    ("GET", "/v1/models/oracle/labels/{}"),
)
_HEADERS = ("X-Request-ID", "Idempotency-Key", "X-API-Key", "Authorization", "X-Request-Timeout-Ms")


def with_name(name: str) -> Iterator[tuple[str, bytes]]:
    """Where the name stands, for a person, and the request; the last asks for a training, and may be accepted.

    A header cannot hold what ends it; one for an API key is read by nobody where none is needed.
    """
    sample = {"dataset": {"sample": "iris"}, "target": "target", "estimator": "GaussianNB"}
    yield "POST /predict version", _json("/predict", {"model": "oracle", "version": name, "instances": [[1]]})
    yield "POST /train sample", _json(TRAIN, {"model": "nobody", **sample, "dataset": {"sample": name}})
    for path, good in _BODIES.items():
        for place, body in _replaced(good, name):
            yield f"POST {path} {place}", _json(path, body)
    quoted = "".join(f"%{byte:02X}" for byte in name.encode())
    yield "PUT /models/oracle/aliases/", request("PUT", f"/models/oracle/aliases/{quoted}", b'{"version":99}')
    for method, path in _PATHS:
        # Nginx refuses a path with a zero before it knows whose call it is.
        yield f"{method} {'a zero in ' if chr(0) in name else ''}{path}", request(method, path.format(quoted), b"")
    if not re.search("[\r\n\0]", name):
        for header in _HEADERS:
            yield f"POST /train {header}", request("POST", TRAIN, _UNKNOWN, f"{header}: {name}")
    yield f"POST {TRAIN}", _json(TRAIN, {"model": name, **sample})


_UNKNOWN = json.dumps(_BODIES[TRAIN]).encode()


def _json(path: str, body: Any) -> bytes:
    return request("POST", path, json.dumps(body).encode())


def _replaced(value: Any, name: str, place: str = "") -> Iterator[tuple[str, Any]]:
    """The value with the name in the place of each of its strings, and as the name of a member of each object."""
    if isinstance(value, str):
        yield place, name
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from ((where, {**value, key: inner}) for where, inner in _replaced(one, name, f"{place}.{key}"))
        yield f"{place}.*", {**value, name: 1}
    elif isinstance(value, list):
        for number, one in enumerate(value):
            for where, inner in _replaced(one, name, f"{place}[{number}]"):
                yield where, [*value[:number], inner, *value[number + 1 :]]
