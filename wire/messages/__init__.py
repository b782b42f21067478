"""The messages two processes exchange, each a frozen object with ``encode`` and ``decode``.

Stands on every AMQP arrow of the flow. A body is one JSON object with ``schema`` (the version
of the wire format, 1); the AMQP property ``type`` carries the message's ``TYPE``,
``correlation_id`` ties replies to requests, ``reply_to`` names the requester's own queue, and
the headers carry ``request_id`` and ``remaining_ms`` (time left, a relative number, because
clocks of two machines differ). Readers ignore unknown fields and refuse another ``schema``.
docs/wire-format.md says the same in prose. Prediction batches have a frame of their own:
``wire.frames``.
"""

from wire.messages.announcements import ForgetVersion, LoadVersion, PredictorAlive, PredictorGone, VersionLoaded
from wire.messages.changes import (
    AliasState,
    DeleteAlias,
    Deleted,
    DeleteModel,
    DeleteVersion,
    Rollback,
    SetAlias,
    Settle,
    Settled,
)
from wire.messages.datasets import ColumnProfile, DatasetProfile, InspectRequest, MoreThan
from wire.messages.envelope import SCHEMA, Failure, Message
from wire.messages.examining import Examine, Examined, VolumeState
from wire.messages.reads import (
    AliasSummary,
    FilePiece,
    GetModel,
    GetVersion,
    ListModels,
    ModelDetail,
    ModelList,
    ModelSummary,
    ReadFile,
    VersionDetail,
    VersionSummary,
)
from wire.messages.tables import (
    BatchDead,
    OutputColumn,
    OutputType,
    ParquetWritten,
    ReadRows,
    RowsRead,
    WriteParquet,
)
from wire.messages.training import (
    DatasetRef,
    JobDead,
    Promote,
    Search,
    StopTraining,
    TrainDone,
    TrainProgress,
    TrainRequest,
    Validation,
)

__all__ = [
    "SCHEMA",
    "AliasState",
    "AliasSummary",
    "BatchDead",
    "ColumnProfile",
    "DatasetProfile",
    "DatasetRef",
    "DeleteAlias",
    "DeleteModel",
    "DeleteVersion",
    "Deleted",
    "Examine",
    "Examined",
    "Failure",
    "FilePiece",
    "ForgetVersion",
    "GetModel",
    "GetVersion",
    "InspectRequest",
    "JobDead",
    "ListModels",
    "LoadVersion",
    "Message",
    "ModelDetail",
    "ModelList",
    "ModelSummary",
    "MoreThan",
    "OutputColumn",
    "OutputType",
    "ParquetWritten",
    "PredictorAlive",
    "PredictorGone",
    "Promote",
    "ReadFile",
    "ReadRows",
    "Rollback",
    "RowsRead",
    "Search",
    "SetAlias",
    "Settle",
    "Settled",
    "StopTraining",
    "TrainDone",
    "TrainProgress",
    "TrainRequest",
    "Validation",
    "VersionDetail",
    "VersionLoaded",
    "VersionSummary",
    "VolumeState",
    "WriteParquet",
]
