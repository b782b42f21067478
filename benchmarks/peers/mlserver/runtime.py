"""MLServer with a runtime of the shape its documentation shows; inputs as its codecs decode them."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.types import InferenceRequest, InferenceResponse
from rows import Model


class Runtime(MLModel):
    """Serves the model."""

    async def load(self) -> bool:
        """Load the model once per worker."""
        self.model = Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Predict one request, or one batch that MLServer made of several."""
        if len(payload.inputs) == 1:
            features = NumpyCodec.decode_input(payload.inputs[0])
        else:
            features = PandasCodec.decode_request(payload)
        answer = self.model.pipeline.predict(features)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("predict", answer)])
