"""Plain FastAPI with the model in the process: what most teams write first."""

from bodies import Answer, Body
from fastapi import FastAPI
from rows import Model

app = FastAPI()
model = Model()


@app.post("/predict")
def predict(body: Body) -> Answer:  # type: ignore[valid-type]
    """Predict; a plain function, so FastAPI runs it in its thread pool."""
    return Answer(predictions=model.predict(body.instances))
