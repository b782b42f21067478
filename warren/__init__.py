"""What people use: a Python client of a Warren gateway, and the ``warren`` command. HTTP only.

    import warren

    with warren.Client() as client:
        job = client.train("churn", "customers.csv", target="left")
        print(job.wait().metrics)
        print(client.predict("churn", [{"age": 31, "plan": "basic"}]).predictions)

``AsyncClient`` is the same with ``await``. Errors are the tree of ``warren.errors``.
"""

from warren.admin import Check, Diagnosis, Key, NewKey
from warren.answers import (
    Alias,
    AliasState,
    Column,
    Dataset,
    Event,
    JobResult,
    JobView,
    Model,
    ModelSummary,
    Prediction,
    Progress,
    Version,
    VersionSummary,
)
from warren.async_client import AsyncClient
from warren.client import Client
from warren.errors import (
    ApiError,
    Conflict,
    ConnectionFailed,
    DeadlineExceeded,
    FieldError,
    Forbidden,
    InvalidConfig,
    InvalidRequest,
    InvalidRows,
    JobCancelled,
    JobFailed,
    NotAnswered,
    NotFound,
    Overloaded,
    ServerFault,
    TimedOut,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    WarrenError,
)
from warren.jobs import AsyncJob, Job
from warren.patience import Retries
from warren.version import VERSION as __version__

__all__ = [
    "Alias",
    "AliasState",
    "ApiError",
    "AsyncClient",
    "AsyncJob",
    "Check",
    "Client",
    "Column",
    "Conflict",
    "ConnectionFailed",
    "Dataset",
    "DeadlineExceeded",
    "Diagnosis",
    "Event",
    "FieldError",
    "Forbidden",
    "InvalidConfig",
    "InvalidRequest",
    "InvalidRows",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobResult",
    "JobView",
    "Key",
    "Model",
    "ModelSummary",
    "NewKey",
    "NotAnswered",
    "NotFound",
    "Overloaded",
    "Prediction",
    "Progress",
    "Retries",
    "ServerFault",
    "TimedOut",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedAnswer",
    "Version",
    "VersionSummary",
    "WarrenError",
    "__version__",
]
