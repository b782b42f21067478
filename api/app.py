"""The application of a replica: every route, every check, one lifespan.

Between Nginx and the routes. Predictions are answered before FastAPI's routing sees them;
everything else passes the edge, the routing, and a router.
"""

from __future__ import annotations

import threading
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from fastapi import Depends, FastAPI
from starlette.types import Receive, Scope, Send

from api import bodies, lifespan, openapi, problems, protocols
from api.edge import Edge
from api.predict import route
from api.predict.exchange import Predictions
from api.predict.native import PATH
from api.routes import batch, datasets, diagnosis, docs, health, jobs, keys, models, train
from api.state import current_caller
from wire.settings import Settings, load

API_VERSION = "1"
"""The version of the HTTP API, not of the package: it changes when a caller has to."""
_DESCRIPTION = (
    "Train scikit-learn models and predict with them. Every error is a problem document (RFC 9457) with a "
    "stable `code`, and under `/v1`, `/v2` and `/mlflow` one of the protocol's own form; every answer has an "
    "`X-Request-ID`."
)


class Gateway(FastAPI):
    """A FastAPI application with the calls that predict before its routing."""

    def __init__(self, settings: Settings) -> None:
        """``settings`` are those of the whole process."""
        super().__init__(
            title="Warren",
            version=API_VERSION,
            description=_DESCRIPTION,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            redirect_slashes=False,
            lifespan=self._living,
            dependencies=[Depends(current_caller)],
        )
        self.settings = settings
        self.document_json = b""
        self._documenting = threading.Lock()
        self.predictions = Predictions(
            settings,
            lambda: self.state.gateway.coalescer,
            lambda: self.state.gateway.keyring,
            protocols.form_of,
            protocols.respond,
        )
        self.large_bodies = bodies.LargeBodies(settings.limits)
        self._predict = route.PredictRoute(self.predictions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        form = protocols.form_of(scope["path"].encode()) if scope["type"] == "http" else None
        if form is None:
            await super().__call__(scope, receive, send)
        else:
            await self._predict.serve(form, scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.document(
                self,
                {PATH: route.described(), **protocols.described()},
                keys=self.settings.api.keys,
                restyled=protocols.restyled,
            )
        return self.openapi_schema

    def document(self) -> bytes:
        """The same as JSON, also in ``document_json`` from then on.

        Call it in a thread: the first time takes a quarter of a second, in which a loop would answer nobody.
        """
        with self._documenting:
            if not self.document_json:
                self.document_json = msgspec.json.encode(self.openapi())
        return self.document_json

    def _living(self, _app: FastAPI) -> AbstractAsyncContextManager[None]:
        return lifespan.running(self, self.settings)


def create_app(settings: Settings | None = None) -> Gateway:
    """The application, ready to be served; ``settings`` default to those of the environment."""
    app = Gateway(settings or load())
    problems.install(app, protocols.respond)
    app.add_middleware(Edge, respond=protocols.respond)
    for module in (train, batch, jobs, datasets, models, keys, diagnosis, health, docs):
        app.include_router(module.router)
    for protocol in protocols.PROTOCOLS:
        app.include_router(protocol.router)
    return app
