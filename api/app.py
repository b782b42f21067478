"""The application of a replica: every route, every check, one lifespan.

Between Nginx and the routes: ``create_app`` puts them together and makes the State they use.
"""

from __future__ import annotations

from fastapi import FastAPI

from api import problems
from wire.settings import Settings, load


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application, ready to be served; ``settings`` default to those of the environment."""
    settings = settings or load()
    app = FastAPI(title="Warren", docs_url=None, redoc_url=None)
    app.state.settings = settings
    problems.install(app)
    return app
