"""What the OpenAPI document says about keys: how they are sent, and which call needs which.

Beside the routes: ``api.openapi`` hands each operation through ``guarded``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from api.keys.policies import Policy

SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key: `Authorization: Bearer wk_…`.",
    },
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key in another header."},
}
"""The two headers a key may come in (``components.securitySchemes``)."""
_WORDS: Final = {
    "any": "Any valid API key.",
    "predict": "An API key with the scope `predict`.",
    "train": "An API key with the scope `train`.",
    "admin": "An API key with the scope `admin`.",
}


def guarded(
    described: Mapping[str, Any], policy: Policy, answers: Mapping[int, dict[str, Any]], *, required: bool
) -> dict[str, Any]:
    """An operation with what its policy asks for.

    ``answers`` are the responses of a refused key by status; one that the operation has already
    gets their codes added. Where keys are not ``required`` the operation says they are optional.
    """
    if policy == "open":
        return {**described, "security": []}
    merged = dict(described["responses"])
    for status, answer in answers.items():
        # Without keys it is also for pages of other sites.
        if status == 403 and policy == "any" and required:
            continue
        there = merged.get(str(status))
        merged[str(status)] = answer if there is None else {**there, "description": _joined(there, answer)}
    text = f"{described.get('description', '')}\n\n{_WORDS[policy]}".strip()
    schemes: list[dict[str, list[str]]] = [{name: []} for name in SCHEMES]
    responses = dict(sorted(merged.items()))
    security = schemes if required else [{}, *schemes]
    return {**described, "description": text, "responses": responses, "security": security}


def _joined(there: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    """The description of an answer with the codes of another one of the same status."""
    codes = more["description"].partition(": ")[2].split(", ")
    new = [code for code in codes if code not in there["description"]]
    return ", ".join([there["description"], *new])
