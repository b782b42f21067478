"""ModelInfer: the form of a prediction in the Open Inference Protocol over gRPC.

Between an exchange and the messages: ``reading`` reads a request, ``writing`` writes its answer.
"""

from __future__ import annotations

from typing import Final

from api.predict.batches import Answer
from api.predict.envelope import Asked
from api.predict.forms import Form, RawHeaders, Written
from api.protocols import references
from api.protocols.open_inference_grpc import framing, reading, routes, writing
from api.protocols.open_inference_grpc import open_inference_pb2 as messages
from wire import errors
from wire.settings import Predict


class ModelInfer(Form):
    """The call ModelInfer."""

    route = f"{routes.PREFIX}/ModelInfer"

    def check(self, found: RawHeaders) -> None:
        """That it is a call of gRPC (Form)."""
        framing.check(found)

    def timeout_s(self, found: RawHeaders, limits: Predict) -> float:
        """The deadline of the call (Form)."""
        return framing.timeout_s(found, limits)

    def read(self, raw: bytes, found: RawHeaders, max_rows: int) -> Asked:
        """Tensors and wanted outputs (Form)."""
        message = reading.parse(messages.ModelInferRequest(), framing.message(raw))
        model = references.model(message.model_name)
        version, alias = references.version(message.model_version or None)
        request = reading.read(message, max_rows)
        return Asked(
            model,
            version,
            alias,
            request.data,
            any(each.name == "predict_proba" for each in request.outputs),
            request.rows,
            "tensors",
            request.tensors,
            request.outputs,
            reading.Note(message.id, not message.raw_input_contents),
        )

    def answer(self, asked: Asked, answer: Answer, request_id: str) -> Written:
        """A ModelInferResponse (Form)."""
        return Written(framing.KIND, framing.body(writing.answer(asked, answer)), (framing.OK,))

    def refusal(self, error: errors.WarrenError, request_id: str) -> Written:
        """A status with its sentence (Form)."""
        return framing.refusal(error)


MODEL_INFER: Final = ModelInfer()
"""The one object."""
