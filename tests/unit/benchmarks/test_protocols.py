"""What the bench of protocols sends is the same rows by every way, and its page says what was seen."""

from __future__ import annotations

import json
import struct

import pytest

from api.predict import envelope
from api.protocols.open_inference import reading
from api.protocols.open_inference_grpc.infer import MODEL_INFER
from benchmarks import protocols
from benchmarks.protocols import Run


def test_every_way_sends_the_same_rows() -> None:
    native, plain, binary, spoken = (way.body(3) for way in protocols.WAYS)
    rows = json.loads(bytes(envelope.read(native[0], 10).instances))
    flat = [cell for row in rows for cell in row]
    assert json.loads(bytes(reading.read(plain[0], None, 10).data)) == flat
    raw = struct.pack("<12d", *flat)
    assert bytes(reading.read(binary[0], b"%d" % binary[1], 10).data) == raw
    asked = MODEL_INFER.read(spoken[0], {}, 10)
    assert (bytes(asked.instances), asked.tensors[0].shape) == (raw, (3, 4))


def test_the_page_has_medians_and_their_ratio_to_predict() -> None:
    found = {
        (way.name, rows): [Run(rate * (at + 1), at, 0.5) for rate in (100, 1000, 300)]
        for at, way in enumerate(protocols.WAYS)
        for rows in protocols.SIZES
    }
    text = protocols.table(found)
    assert "| 1 | /predict | 300 | 1.00 | 0.50 | 0 |" in text
    assert "| 100 | OIP, gRPC | 1,200 | 4.00 | 0.50 | 9 |" in text


SAID = """
requests: 1681 total, 1745 started, 1681 done, 1681 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1682 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 393.77KB (403219) total, 219.20KB (224457) headers (space savings 35.05%), 85.36KB (87412) data
"""


def test_what_h2load_says_is_read() -> None:
    assert protocols.counted(SAID) == (1681, 87412)
    for said in ("", SAID.replace("(87412)", "(0)")):
        with pytest.raises(ValueError, match="no answer"):
            protocols.counted(said)
