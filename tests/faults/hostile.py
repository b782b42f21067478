"""What hostile and broken clients send: damaged bodies, and ambiguous requests."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.faults import raw
from tests.integration.predict.test_malformed import GOOD, damaged


class Target(NamedTuple):
    """A call and a body that is refused as it is, whole; ``begin`` is what damage spares, and refused by itself."""

    method: str
    path: str
    good: bytes
    kind: str = "application/json"
    header: str = "X-None: 1"
    begin: bytes = b""


_WRONG = b'[["a","b"],["c","d"],["e","f"],["g","h"]]'
_TENSOR = b'{"name":"input","datatype":"FP64","shape":[4,9],"data":[1,2,3,4,5,6,7,8,9]}'
_INFER = b'{"inputs":[' + _TENSOR + b'],"outputs":[{"name":"none"}],"parameters":{"a":1}}'
_V1 = b'{"signature_name":"none","instances":' + _WRONG + b"}"
_PARQUET = "application/vnd.apache.parquet"

# What a slip of the damage leaves valid must be refused all the same: for its model, its version, or all its rows.
TARGETS: Final = (
    *(Target(method, path, good) for path, (method, good) in GOOD.items()),
    Target("POST", "/predict", b'{"model":"oracle","instances":' + _WRONG + b"}"),
    Target("POST", "/v2/models/oracle/infer", _INFER),
    Target("POST", "/v2/models/oracle/versions/99/infer", _INFER),
    Target(
        "POST",
        "/v2/models/oracle/infer",
        _INFER + b"\0" * 32,
        "application/octet-stream",
        f"Inference-Header-Content-Length: {len(_INFER)}",
    ),
    Target("POST", "/v1/models/oracle:predict", _V1),
    Target("POST", "/v1/models/oracle/versions/99:predict", _V1),
    Target("POST", "/v1/models/oracle/labels/none:predict", _V1),
    Target("POST", "/mlflow/oracle/invocations", b'{"dataframe_split":{"columns":["a","b"],"data":' + _WRONG + b"}}"),
    Target("POST", "/mlflow/oracle/invocations", b'{"inputs":{"a":["b","c"],"d":["e","f"]}}'),
    Target("POST", "/mlflow/nobody/invocations", b"a,b\n1,2\n3,4\n", "text/csv"),
    Target("POST", "/batch-predictions", b'{"model":"m","dataset":{"id":"%032d"},"version":3}' % 0),
    Target("POST", "/datasets", b"a,b\n1,2\n", "text/csv", begin=b"\xff\xfe"),
    Target("POST", "/datasets", b"PAR1.{}[]", _PARQUET, begin=b"."),
    Target("POST", "/models/m/rollback", b'{"x":1}'),
    Target("POST", "/keys", b'{"owner":"m","scopes":["nothing"],"days":3}'),
    Target("POST", "/jobs/m/cancel", b'{"x":1}'),
)
"""Every call that takes a body, and two that take none."""

_HUGE = b"1" + b"0" * 400
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
    b"[" * 40 + b'"' + b'\\"' * 30_000,
)
_TRAININGS = (
    b'{"model":"m","estimator":"Ridge","params":{"alpha":' + _HUGE + b'},"dataset":{"sample":"iris"},"target":"y"}',
    b'{"model":"m","estimator":"Ridge","search":{"kind":"grid","space":{"alpha":[' + _HUGE + b"]}}}",
)


def body(draw: random.Random) -> tuple[str, bytes]:
    """What is sent, for a person, and the request, which must be refused."""
    kind = draw.random()
    if kind < 0.1:
        path, corpus = draw.choice((("/predict", _CORPUS), ("/train", (*_CORPUS, *_TRAININGS))))
        return _sent(Target("POST", path, b""), draw.choice(corpus))
    target = draw.choice(TARGETS)
    if kind < 0.25:
        return _sent(target, draw.randbytes(draw.randrange(1, 400)))
    return _sent(target, damaged(draw, target.good))


def each_once() -> Iterator[tuple[str, bytes]]:
    """Every target with the body that it refuses."""
    return (_sent(target, target.good) for target in TARGETS)


def _sent(target: Target, content: bytes) -> tuple[str, bytes]:
    content = target.begin + content
    sent = raw.request(target.method, target.path, content, target.header, kind=target.kind)
    return f"{target.method} {target.path} {content[:60]!r}", sent


def is_sent_to(method: str, template: str) -> bool:
    """Whether some target is this call, a path template of the OpenAPI document."""
    pattern = re.compile(re.sub(r"\\{\w+\\}", "[^/:]+", re.escape(template)))
    return any(one.method == method.upper() and pattern.fullmatch(one.path) for one in TARGETS)


_BODY = b'{"model":"oracle","instances":[[1]]}'
_NEXT = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
_HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_LENGTH = b"Content-Length: %d\r\n" % len(_BODY)
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

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
    "a zero in a header": b"GET /jobs/x HTTP/1.1\r\nHost: localhost\r\nX-A: a\0b\r\n\r\n",
    "a zero in the path": b"GET /jobs/\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an unknown version": b"GET /jobs/x HTTP/1.7x\r\nHost: localhost\r\n\r\n",
    "a folded encoding": _HEAD + _LENGTH + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + _NEXT,
    "a folded length": _HEAD + b"Content-Length:\r\n 5\r\n\r\n" + _BODY,
    "a first header that is folded": b"GET /jobs/x HTTP/1.1\r\n Host: localhost\r\nHost: localhost\r\n\r\n",
    "a line feed in a header": _HEAD + _LENGTH + b"X-A: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _NEXT,
    "a return in a header": _HEAD + _LENGTH + b"X-A: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + _NEXT,
    "line feeds alone, and a request as the body": (_HEAD + b"Content-Length: %d\r\n\r\n" % len(_NEXT)).replace(
        b"\r\n", b"\n"
    )
    + _NEXT,
    "line feeds alone around a chunk": _CHUNKED + b"%x\n" % len(_NEXT) + _NEXT + b"\n0\n\n",
    # Whoever takes the extension to go on to the end of the line sees a chunk of two bytes, and a second request.
    "a line feed in a chunk's extension": _CHUNKED
    + b"2;\nxx\r\n%x\r\n0\r\n\r\n" % (len(_NEXT) + 5)
    + _NEXT
    + b"\r\n0\r\n\r\n",
    "CONNECT": b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
"""Requests that a proxy and a server could read in two ways, or not at all; each must be refused, once."""
