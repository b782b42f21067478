"""Predictions over gRPC at a fixed pace beside the load, by a client with gRPC's defaults and no retry policy.

By default a call that the server says it has never seen (GOAWAY, when a connection ends while the call is on its
way) is sent again; nothing else is (github.com/grpc/proposal, A6, transparent retries).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import TracebackType

import grpc

from api.protocols.open_inference_grpc import open_inference_pb2 as messages
from tests.compose.load import MODEL, ROW


@dataclass
class Calls:
    """One connection that makes ``rate_s`` calls a second at most, one after another, until the block ends."""

    address: str
    key: str
    rate_s: float = 20.0
    answered: int = 0
    broken: list[str] = field(default_factory=list)

    def __enter__(self) -> Calls:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._call)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(60)

    def _call(self) -> None:
        message = messages.ModelInferRequest(model_name=MODEL)
        message.inputs.add(name="x", datatype="FP64", shape=[1, len(ROW)]).contents.fp64_contents.extend(ROW)
        body, metadata = message.SerializeToString(), (("authorization", self.key),)
        with grpc.insecure_channel(self.address) as channel:
            infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            while not self._end.wait(1 / self.rate_s):
                try:
                    told = messages.ModelInferResponse.FromString(infer(body, metadata=metadata, timeout=20))
                except grpc.RpcError as error:
                    self.broken.append(f"{error.code()}: {error.details()}")
                    continue
                if list(told.outputs[0].contents.bytes_contents) == [b"setosa"]:
                    self.answered += 1
                else:
                    self.broken.append(str(told)[:200])
