"""What trainers announce: a version to load before anything names it, or one that has gone.

From the fanout ANNOUNCE to the registry; the answer says that the version is warm here, or why
it is not.
"""

from __future__ import annotations

from typing import Final

from predictor.registry import Registry
from wire import errors, messages
from wire.deadlines import Deadline
from wire.server import Request

LOAD_S: Final = 30.0
"""Seconds for a load when the announcement names no deadline."""
PATIENCE_S: Final = 5.0
"""Seconds an announced version is looked for: it exists, but a name made on another machine may be seen late."""


class Announcements:
    """Handles announcements for one predictor."""

    def __init__(self, registry: Registry, predictor_id: str) -> None:
        self._registry = registry
        self._predictor_id = predictor_id

    def handle(self, request: Request) -> messages.Message | None:
        """One announcement; of kinds that are not known yet, nothing is to be done."""
        if request.kind == messages.LoadVersion.TYPE:
            return self._load(messages.LoadVersion.decode(request.body), request.deadline or Deadline.after(LOAD_S))
        if request.kind == messages.ForgetVersion.TYPE:
            message = messages.ForgetVersion.decode(request.body)
            self._registry.forget(message.model, message.version)
        return None

    def _load(self, message: messages.LoadVersion, deadline: Deadline) -> messages.VersionLoaded:
        failed: errors.ErrorBody | None = None
        try:
            self._registry.announced(message.model, message.version, deadline, wait_s=PATIENCE_S)
        except errors.WarrenError as error:
            failed = error.to_body()
        return messages.VersionLoaded(
            predictor_id=self._predictor_id, model=message.model, version=message.version, error=failed
        )
