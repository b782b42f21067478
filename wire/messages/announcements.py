"""What trainers and predictors tell each other: who serves, and which versions came or went."""

from __future__ import annotations

from typing import ClassVar

from wire import errors
from wire.messages.envelope import Message


class PredictorAlive(Message, frozen=True, kw_only=True):
    """Predictor to every trainer, every 2 s and at start: I serve; 15 s of silence: I do not."""

    TYPE: ClassVar[str] = "predictor.alive"
    predictor_id: str


class PredictorGone(Message, frozen=True, kw_only=True):
    """Predictor to every trainer on an orderly stop: do not wait for me."""

    TYPE: ClassVar[str] = "predictor.gone"
    predictor_id: str


class LoadVersion(Message, frozen=True, kw_only=True):
    """Trainer to every predictor: verify, load and warm this version, then reply."""

    TYPE: ClassVar[str] = "version.load"
    model: str
    version: int


class VersionLoaded(Message, frozen=True, kw_only=True):
    """Predictor to trainer: this version is warm here, or why it is not."""

    TYPE: ClassVar[str] = "version.loaded"
    predictor_id: str
    model: str
    version: int
    error: errors.ErrorBody | None = None


class ForgetVersion(Message, frozen=True, kw_only=True):
    """Trainer to every predictor: this version (0: every version) of the model was deleted."""

    TYPE: ClassVar[str] = "version.forget"
    model: str
    version: int = 0
