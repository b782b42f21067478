"""Every call of the HTTP API as a value: what to send, how long to wait, how to read the answer.

Between the clients' methods and the two transports, which only differ in how they wait. Nothing
here touches a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from warren import admin, answers, errors
from warren.patience import NEVER, Retries

T = TypeVar("T")

READ_S = 30.0
"""Seconds a call waits for its answer when nothing else is said."""
PREDICT_S = 10.0
"""Seconds a prediction may take at the gateway when nothing else is said; it allows up to 30."""
MARGIN_S = 2.0
"""Seconds added to a deadline before the client gives up by itself: the gateway's own answer says more."""
JSON = {"content-type": "application/json"}
"""The headers of a JSON body."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call.

    ``read`` makes the answer of a body; ``also`` are statuses that are answers too, besides those
    of success; ``wait_s`` bounds each wait for bytes.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = READ_S
    retries: Retries = NEVER
    also: tuple[int, ...] = ()


def reader(kind: type[T]) -> Callable[[bytes], T]:
    """Reads a JSON body as ``kind``; the reader raises errors.UnexpectedAnswer."""
    decoder = msgspec.json.Decoder(kind)

    def read(body: bytes) -> T:
        try:
            return decoder.decode(body)
        except (ValueError, RecursionError) as error:
            raise errors.UnexpectedAnswer(
                f"The answer is no {kind.__name__} ({type(error).__name__}).",
                "Is the address that of a Warren gateway, and is this client as new as it?",
            ) from error

    return read


def _nothing(_body: bytes) -> None:
    return None


_prediction = reader(answers.Prediction)


def problem_of(status: int, body: bytes, retry_after_s: float | None) -> errors.ApiError:
    """The exception for an answer that is no success; a body that is no problem document gets a plain one."""
    try:
        problem = msgspec.json.decode(body, type=errors.Problem)
    except (ValueError, RecursionError):
        said = f"The gateway, or a proxy before it, answered {status}."
        problem = errors.Problem(status, "no_problem_document", said)
    return errors.of_problem(problem, retry_after_s)


def predict(
    model: str,
    instances: bytes,
    *,
    version: int | str | None,
    probabilities: bool,
    deadline_s: float,
    retries: Retries,
) -> Call[answers.Prediction]:
    """POST /predict; ``instances`` is a JSON array of rows."""
    head = msgspec.json.encode({"model": model, "version": version, "probabilities": probabilities})
    body = head[:-1] + b',"instances":' + instances + b"}"
    headers = {**JSON, "x-request-timeout-ms": str(max(1, round(deadline_s * 1000)))}
    return Call("POST", "/predict", _prediction, body, headers, deadline_s + MARGIN_S, retries)


def train(body: Mapping[str, Any], key: str, retries: Retries) -> Call[answers.Accepted]:
    """POST /train; ``key`` makes every copy the same job."""
    headers = {**JSON, "idempotency-key": key}
    return Call("POST", "/train", reader(answers.Accepted), msgspec.json.encode(body), headers, retries=retries)


def predict_dataset(body: Mapping[str, Any], key: str, retries: Retries) -> Call[answers.Accepted]:
    """POST /batch-predictions: a job that predicts a whole upload at the gateway; ``key`` makes it one job."""
    headers = {**JSON, "idempotency-key": key}
    content = msgspec.json.encode(body)
    return Call("POST", "/batch-predictions", reader(answers.Accepted), content, headers, retries=retries)


def output(job_id: str, kind: str) -> Call[None]:
    """GET /jobs/{id}/output, to be streamed."""
    return Call("GET", _asking(f"/jobs/{_part(job_id)}/output", format=kind), _nothing)


def job(job_id: str) -> Call[answers.JobView]:
    """GET /jobs/{id}."""
    return Call("GET", f"/jobs/{_part(job_id)}", reader(answers.JobView))


def jobs(model: str | None, status: str | None, limit: int, cursor: str | None) -> Call[answers.Jobs]:
    """GET /jobs."""
    return Call("GET", _asking("/jobs", model=model, status=status, limit=limit, cursor=cursor), reader(answers.Jobs))


def cancel(job_id: str) -> Call[answers.JobView]:
    """POST /jobs/{id}/cancel."""
    return Call("POST", f"/jobs/{_part(job_id)}/cancel", reader(answers.JobView))


def dataset(dataset_id: str) -> Call[answers.Dataset]:
    """GET /datasets/{id}."""
    return Call("GET", f"/datasets/{_part(dataset_id)}", reader(answers.Dataset))


def datasets(limit: int, cursor: str | None) -> Call[answers.Datasets]:
    """GET /datasets."""
    return Call("GET", _asking("/datasets", limit=limit, cursor=cursor), reader(answers.Datasets))


def delete_dataset(dataset_id: str) -> Call[None]:
    """DELETE /datasets/{id}."""
    return Call("DELETE", f"/datasets/{_part(dataset_id)}", _nothing)


def models() -> Call[answers.Models]:
    """GET /models."""
    return Call("GET", "/models", reader(answers.Models))


def model(name: str) -> Call[answers.Model]:
    """GET /models/{model}."""
    return Call("GET", f"/models/{_part(name)}", reader(answers.Model))


def version(name: str, number: int) -> Call[answers.Version]:
    """GET /models/{model}/versions/{version}."""
    return Call("GET", f"/models/{_part(name)}/versions/{number:d}", reader(answers.Version))


def set_alias(name: str, alias: str, number: int, expected: int | None) -> Call[answers.AliasState]:
    """PUT /models/{model}/aliases/{alias}."""
    body = {"version": number} if expected is None else {"version": number, "expected": expected}
    path = f"/models/{_part(name)}/aliases/{_part(alias)}"
    return Call("PUT", path, reader(answers.AliasState), msgspec.json.encode(body), JSON)


def delete_alias(name: str, alias: str) -> Call[None]:
    """DELETE /models/{model}/aliases/{alias}."""
    return Call("DELETE", f"/models/{_part(name)}/aliases/{_part(alias)}", _nothing)


def rollback(name: str) -> Call[answers.AliasState]:
    """POST /models/{model}/rollback."""
    return Call("POST", f"/models/{_part(name)}/rollback", reader(answers.AliasState))


def delete_version(name: str, number: int) -> Call[None]:
    """DELETE /models/{model}/versions/{version}."""
    return Call("DELETE", f"/models/{_part(name)}/versions/{number:d}", _nothing)


def delete_model(name: str) -> Call[None]:
    """DELETE /models/{model}."""
    return Call("DELETE", f"/models/{_part(name)}", _nothing)


def keys(limit: int, cursor: str | None) -> Call[admin.Keys]:
    """GET /keys."""
    return Call("GET", _asking("/keys", limit=limit, cursor=cursor), reader(admin.Keys))


def create_key(owner: str, scopes: list[str], days: int | None, rate_per_s: float | None) -> Call[admin.NewKey]:
    """POST /keys. Raises ValueError for a rate that is no number above 0."""
    if rate_per_s is not None and not rate_per_s > 0:
        raise ValueError("rate_per_s is a number of calls above 0, or math.inf for any number.")
    # JSON has no infinity: it goes as null, which is any number there too.
    given = {"owner": owner, "scopes": scopes, "days": days, "rate_per_s": rate_per_s}
    body = {name: value for name, value in given.items() if value is not None}
    return Call("POST", "/keys", reader(admin.NewKey), msgspec.json.encode(body), JSON)


def revoke_key(prefix: str) -> Call[None]:
    """DELETE /keys/{prefix}."""
    return Call("DELETE", f"/keys/{_part(prefix)}", _nothing)


def diagnosis() -> Call[admin.Diagnosis]:
    """GET /diagnosis."""
    return Call("GET", "/diagnosis", reader(admin.Diagnosis))


def readiness() -> Call[admin.Health]:
    """GET /readyz; 503 says what is missing."""
    return Call("GET", "/readyz", reader(admin.Health), also=(503,))


def _part(text: str) -> str:
    return quote(text, safe="")


def _asking(path: str, **parameters: object) -> str:
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
