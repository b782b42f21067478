"""GET /docs and /openapi.json: the calls of the gateway, to read and to try, with no internet.

The page's script and style come from a package on this machine; nothing is fetched elsewhere.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Final

import anyio
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from wire import errors

router = APIRouter(include_in_schema=False)
"""The documentation calls; they are not part of the document they show."""

_FOLDER = resources.files("swagger_ui_bundle") / "vendor" / "swagger-ui-4.15.5"
ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
"""What the page needs, with content types."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; frame-ancestors 'none'"
    ),
    "cache-control": "public, max-age=3600",
}
_PAGE: Final = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Warren</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="calls"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# This release of Swagger UI refuses a document that says 3.1, but shows everything ours has.
_START: Final = b"""fetch("/openapi.json").then(answer => answer.json()).then(spec => {
  spec.openapi = "3.0.3";
  SwaggerUIBundle({spec, dom_id: "#calls", deepLinking: true, validatorUrl: null});
});
"""


@router.get("/docs")
async def page() -> Response:
    """The page."""
    return Response(_PAGE, media_type="text/html", headers=_HEADERS)


@router.get("/docs/start.js")
async def start() -> Response:
    """The script that loads the document into the page."""
    return Response(_START, media_type="text/javascript", headers=_HEADERS)


@router.get("/docs/{asset}")
async def asset(asset: str) -> Response:
    """One of the page's own files."""
    if asset not in ASSETS:
        raise errors.NotFound("There is nothing at this path.")
    return Response(_content(asset), media_type=ASSETS[asset], headers=_HEADERS)


@router.get("/openapi.json")
async def document(request: Request) -> Response:
    """The OpenAPI document."""
    gateway = request.app
    content = gateway.document_json or await anyio.to_thread.run_sync(gateway.document)
    return Response(content, media_type="application/json")


@lru_cache(maxsize=len(ASSETS))
def _content(asset: str) -> bytes:
    return (_FOLDER / asset).read_bytes()
