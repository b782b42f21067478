"""Plain FastAPI with the model in the process: what most teams write first."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from rows import Model

app = FastAPI()
model = Model()


class Body(BaseModel):
    """A prediction request."""

    instances: list[list[float | str | None]]


@app.post("/predict")
def predict(body: Body) -> dict[str, Any]:
    """Predict; a plain function, so FastAPI runs it in its thread pool."""
    return {"predictions": model.predict(body.instances)}


class Empty(BaseModel):
    """The body of the empty endpoint."""

    instances: list[list[float]]


@app.post("/empty")
async def empty(body: Empty) -> dict[str, str]:
    """Nothing but FastAPI and pydantic: the ceiling of every server written this way."""
    return {"status": "ok"}
