"""Every call of the OpenAPI document with generated input, on a real stack: no 5xx, nothing undocumented."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import positive_data_acceptance

from api.app import create_app
from tests.acceptance import open_inference
from tests.acceptance.conftest import KNOWN
from tests.acceptance.stack import Client, Stack
from wire.settings import Settings

Document = dict[str, Any]


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def with_known_names(document: Document) -> Document:
    """The document, with a model that exists among what may be asked for; nobody deletes it."""
    document = copy.deepcopy(document)
    for item in document["paths"].values():
        for method, operation in item.items():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in ("model", "MODEL_NAME") and parameter["in"] == "path" and method != "delete":
                    parameter["schema"] = {"anyOf": [{"enum": [KNOWN]}, parameter["schema"]]}
    return document


CALLS = [
    (method, path)
    for path, item in create_app(Settings()).openapi()["paths"].items()
    for method in item
    if method in ("get", "post", "put", "delete", "patch")
]
"""Every call of our own document."""
PROTOCOL_CALLS = [(method, path) for path, item in open_inference.DOCUMENT["paths"].items() for method in item]
"""Every call of the Open Inference Protocol."""
NOT_ALL_IN_A_SCHEMA = {
    "post /predict": "which columns a row has is said by the model",
    "post /train": "a dataset comes from exactly one source",
    "post /mlflow/{model}/invocations": "rows come in exactly one of four forms, and fit the model",
    "post /v2/models/{model}/infer": "data fits its tensor's shape, and the tensors fit the model",
    "post /v2/models/{model}/versions/{version}/infer": "data fits its tensor's shape, and the tensors fit the model",
    "post /datasets": "any bytes may be sent, and not all are a table",
    "post /keys": "a number of days is 30, and for JSON Schema also 30.0",
    "put /models/{model}/aliases/{alias}": "a version is 3, and for JSON Schema also 3.0",
    "post /batch-predictions": "a version is 3, and for JSON Schema also 3.0",
    **dict.fromkeys(("get /jobs", "get /datasets", "get /keys", "get /audit"), "a cursor is one that an answer gave"),
}
"""Calls that may refuse what fits the document, and why the document cannot say so."""
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


@pytest.fixture
def examples(request: pytest.FixtureRequest) -> int:
    """How many inputs of each kind a call gets."""
    return int(request.config.getoption("examples"))


@pytest.fixture(scope="module")
def own(guarded: Stack) -> schemathesis.BaseSchema:
    """Our own document, as a replica gives it."""
    with Client(guarded.url, guarded.key) as client:
        document = client.call("GET", "/openapi.json", 200)
    return schemathesis.openapi.from_dict(with_known_names(document))


def fuzz(
    operation: schemathesis.APIOperation,
    stack: Stack,
    session: requests.Session,
    headers: dict[str, str],
    examples: int,
    excluded: Sequence[Any] = (),
) -> None:
    """Send what fits the document and what does not, and apply all checks of schemathesis to every answer."""
    # The same input in every run: what passed once must not fail in somebody else's.
    bounded = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for mode in MODES:

        @bounded
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(
                base_url=stack.url, session=session, headers=headers, timeout=30, excluded_checks=excluded
            )

        try:
            check()
        except Unsatisfiable:
            assert mode is schemathesis.GenerationMode.NEGATIVE, "nothing fits the document"


@pytest.mark.parametrize(("method", "path"), CALLS, ids=[f"{method} {path}" for method, path in CALLS])
@pytest.mark.parametrize("keyed", [True, False], ids=["with a key", "without a key"])
def test_every_answer_is_documented(
    guarded: Stack,
    session: requests.Session,
    own: schemathesis.BaseSchema,
    examples: int,
    method: str,
    path: str,
    keyed: bool,
) -> None:
    headers = {"Authorization": f"Bearer {guarded.key}"} if keyed else {}
    excluded = [positive_data_acceptance] if f"{method} {path}" in NOT_ALL_IN_A_SCHEMA else []
    fuzz(own[path][method], guarded, session, headers, examples, excluded)


@pytest.mark.parametrize(
    ("method", "path"), PROTOCOL_CALLS, ids=[f"{method} {path}" for method, path in PROTOCOL_CALLS]
)
def test_the_open_inference_protocol_is_kept(
    guarded: Stack, session: requests.Session, examples: int, method: str, path: str
) -> None:
    """Tensors that fit the protocol need not fit the model; and it says nothing of keys."""
    protocol = schemathesis.openapi.from_dict(with_known_names(open_inference.DOCUMENT))
    headers = {"Authorization": f"Bearer {guarded.key}"}
    fuzz(protocol[path][method], guarded, session, headers, examples, [positive_data_acceptance])


def test_what_is_excepted_exists() -> None:
    assert NOT_ALL_IN_A_SCHEMA.keys() <= {f"{method} {path}" for method, path in CALLS}
