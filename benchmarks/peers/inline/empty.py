"""An endpoint that does nothing: the ceiling of every server written with FastAPI and pydantic."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Body(BaseModel):
    """A prediction request."""

    instances: list[list[float]]


class Answer(BaseModel):
    """A word."""

    status: str


@app.post("/predict")
async def predict(body: Body) -> Answer:
    """Parse the body, answer a word."""
    return Answer(status="ok")
