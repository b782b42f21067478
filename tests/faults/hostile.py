"""What hostile and broken clients send: damaged bodies, ambiguous requests, and names that lead elsewhere."""

from __future__ import annotations

import random
import re

from tests.integration.predict.test_malformed import GOOD, damaged

ALLOWED = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""The names a model or an alias may have."""

_MORE = {
    "/keys": ("POST", b'{"owner":"m","scopes":["nothing"],"days":3}'),
    "/jobs/m/cancel": ("POST", b'{"x":1}'),
}
# Each of these is refused as it is, whole: what a slip of the damage leaves valid must do nothing either.
_TARGETS = GOOD | _MORE

_CORPUS = (
    b"",
    b"\xef\xbb\xbf{}",
    b"null",
    b"NaN",
    b'{"model":"oracle","instances":[[NaN]]}',
    b'{"model":"oracle","instances":[[Infinity]]}',
    b'{"model":"oracle","instances":[[-Infinity]]}',
    b'{"model":"oracle","instances":[[1e999]]}',
    b'{"model":"oracle","instances":[["nan"]]}',
    b'{"model":"oracle","instances":[["\\ud800"]]}',
    b'{"model":"oracle","instances":[{"\\ud800":1}]}',
    b'{"model":"oracle","instances":[["\xed\xa0\x80"]]}',
    b'{"model":"oracle","model":"oracle","instances":[[1,2]]}',
    b'{"model":"oracle","instances":[[1,2]],"instances":[[1,2]]}',
    b'{"model":"oracle","instances":[[' + b"9" * 4301 + b",1]]}",
    b'{"model":"oracle","instances":[[' + b"[" * 500 + b"]" * 500 + b"]]}",
    b'{"model":"oracle","instances":[["wrong"]' + b',["wrong"]' * 9_000 + b"]}",
    '{"model":"oracle"}'.encode("utf-16"),
)


def body(draw: random.Random) -> tuple[str, str, bytes]:
    """Method, path and body of a request that must be refused."""
    kind = draw.random()
    if kind < 0.1:
        return "POST", "/predict", draw.choice(_CORPUS)
    target = draw.choice(list(_TARGETS))
    method, good = _TARGETS[target]
    if kind < 0.25:
        return method, target, draw.randbytes(draw.randrange(1, 400))
    return method, target, damaged(draw, good)


_BODY = b'{"model":"oracle","instances":[[1]]}'
_NEXT = b"GET /readyz HTTP/1.1\r\nHost: s\r\n\r\n"
_HEAD = b"POST /predict HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\n"
_LENGTH = b"Content-Length: %d\r\n" % len(_BODY)

SMUGGLING: dict[str, bytes] = {
    "length and chunks": _HEAD + _LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _NEXT,
    "chunks and length": _HEAD + b"Transfer-Encoding: chunked\r\n" + _LENGTH + b"\r\n0\r\n\r\n" + _NEXT,
    "two lengths": _HEAD + b"Content-Length: 5\r\n" + _LENGTH + b"\r\n" + _BODY,
    "a signed length": _HEAD + b"Content-Length: +5\r\n\r\n" + _BODY,
    "a length in hexadecimal": _HEAD + b"Content-Length: 0x5\r\n\r\n" + _BODY,
    "a strange encoding": _HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": _HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _NEXT,
    "chunked, identity": _HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + _NEXT,
    "a bad chunk size": _HEAD + b"Transfer-Encoding: chunked\r\n\r\nG\r\n\r\n",
    "a chunk size beyond every number": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"F" * 40 + b"\r\n",
    "a space before the colon": _HEAD + b"Content-Length : 5\r\n\r\n" + _BODY,
    "no host": b"GET /jobs/x HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /jobs/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a zero in a header": b"GET /jobs/x HTTP/1.1\r\nHost: s\r\nX-A: a\0b\r\n\r\n",
    "a zero in the path": b"GET /jobs/\0 HTTP/1.1\r\nHost: s\r\n\r\n",
    "an unknown version": b"GET /jobs/x HTTP/1.7x\r\nHost: s\r\n\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: s\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: s\r\n\r\n",
}
"""Requests that a proxy and a server could read in two ways, or not at all; each must be refused."""

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
