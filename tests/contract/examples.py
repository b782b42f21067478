"""One example of every message; the golden files are what they look like on the wire."""

from __future__ import annotations

from wire import errors, frames, messages

MESSAGES: tuple[messages.Message, ...] = (
    messages.TrainRequest(
        job_id="0b0c8f1e6f1d4a0c9b4f0a5e6d7c8b9a",
        attempt=1,
        model="churn",
        dataset=messages.DatasetRef(id="9f86d081884c7d659a2feaa0c55ad015"),
        target="left",
        estimator="RandomForestClassifier",
        params={"n_estimators": 200, "max_depth": None},
        search=messages.Search(space={"min_samples_leaf": [1, 5]}, kind="halving", candidates=10, folds=5),
        validation=messages.Validation(holdout=0.25, folds=5, scoring="roc_auc", order_by="signed_up"),
        promote="always",
        submitted_at="2026-11-22T10:00:00Z",
        request_id="req-1",
    ),
    messages.TrainProgress(job_id="0b0c", fraction=0.5, stage="search", message="10 of 20 candidates"),
    messages.TrainDone(
        job_id="0b0c",
        model="churn",
        version=12,
        metrics={"roc_auc": 0.93},
        promoted=True,
        promotion_reason="0.93 is at least the champion's 0.91",
    ),
    messages.StopTraining(job_id="0b0c"),
    messages.JobDead(
        job_id="0b0c",
        owner="ada",
        model="churn",
        dataset_id="9f86d081884c7d659a2feaa0c55ad015",
        attempts=3,
        error=errors.ErrorBody("internal_error", "The trainer was lost."),
        request={"model": "churn", "target": "left"},
    ),
    messages.Failure(
        error=errors.ErrorBody(
            "bad_input",
            "The input has the wrong shape or meaning.",
            (errors.FieldError("instances[3].age", "must be a number"),),
            "send numbers without quotes",
        )
    ),
    messages.Examine(),
    messages.Examined(
        process="node-1-4711-ab12cd34",
        at_ms=1795600800000,
        build="3fa9c1d27b",
        volume=messages.VolumeState(readable=True, writable=False, free_bytes=80_000_000_000, size_bytes=10**11),
        libraries={"python": "3.11.7", "numpy": "2.4.6"},
    ),
    messages.InspectRequest(dataset_id="9f86d081884c7d659a2feaa0c55ad015", request_id="req-1"),
    messages.DatasetProfile(
        rows=1000,
        columns=(
            messages.ColumnProfile(name="age", type="number", missing=3, distinct=80),
            messages.ColumnProfile(name="note", type="text", missing=0, distinct=messages.MoreThan(1000)),
        ),
    ),
    messages.ReadRows(
        job_id="0b0c",
        draft="0b0c8f1e6f1d4a0c9b4f0a5e6d7c8b9a-1",
        dataset_id="9f86d081884c7d659a2feaa0c55ad015",
        features={"columns": [{"name": "age", "type": "number"}], "ignored": [], "format": 1},
        carried=("customer",),
        block_rows=500,
        block_bytes=65536,
    ),
    messages.RowsRead(job_id="0b0c", rows=1000, refused=2, carried=(messages.OutputColumn("customer", "text"),)),
    messages.WriteParquet(
        job_id="0b0c",
        draft="0b0c8f1e6f1d4a0c9b4f0a5e6d7c8b9a-1",
        columns=(messages.OutputColumn("prediction", "number"), messages.OutputColumn("error", "text")),
    ),
    messages.ParquetWritten(job_id="0b0c", size_bytes=123456),
    messages.BatchDead(
        job_id="0b0c",
        owner="ada",
        model="churn",
        dataset_id="9f86d081884c7d659a2feaa0c55ad015",
        attempts=3,
        error=errors.ErrorBody("internal_error", "The predictors fell silent."),
        request={"model": "churn", "version": 12},
    ),
    messages.SetAlias(model="churn", alias="champion", version=12, expected=11, by="ada"),
    messages.DeleteAlias(model="churn", alias="shadow", by="ada"),
    messages.Rollback(model="churn", by="ada"),
    messages.AliasState(model="churn", alias="champion", version=12, previous=11, revision=4),
    messages.DeleteVersion(model="churn", version=3, by="ada"),
    messages.DeleteModel(model="churn", by="ada"),
    messages.Deleted(),
    messages.Settle(model="churn", job_id="0b0c"),
    messages.Settled(job_id="0b0c", version=12, metrics={"roc_auc": 0.93}),
    messages.PredictorAlive(predictor_id="predictor-1"),
    messages.PredictorGone(predictor_id="predictor-1"),
    messages.LoadVersion(model="churn", version=12),
    messages.VersionLoaded(
        predictor_id="predictor-1",
        model="churn",
        version=12,
        error=errors.ErrorBody("model_corrupt", "The stored artefact fails verification."),
    ),
    messages.ForgetVersion(model="churn", version=3),
    messages.ListModels(),
    messages.GetModel(model="churn"),
    messages.GetVersion(model="churn", version=12),
    messages.ReadFile(model="churn", version=12, file="model.onnx", offset=0, size_bytes=1048576),
    messages.FilePiece(data=b"ONNX", total_bytes=4, sha256="ab" * 32),
    messages.ModelList(models=(messages.ModelSummary(model="churn", champion=12, versions=9, latest=12),)),
    messages.ModelDetail(
        model="churn",
        aliases=(
            messages.AliasSummary(
                alias="champion", version=12, previous=11, revision=4, changed_at="2026-11-22T10:00:00Z"
            ),
        ),
        versions=(
            messages.VersionSummary(
                version=12,
                created_at="2026-11-22T10:00:00Z",
                estimator="RandomForestClassifier",
                task="classification",
                score=0.93,
                scoring="roc_auc",
                runtime="onnx",
                size_bytes=123456,
            ),
        ),
    ),
    messages.VersionDetail(model="churn", version=12, aliases=("champion",), manifest={"model": "churn"}),
)
"""In the order of wire.messages."""

BATCH = frames.BatchHeader(
    model="churn",
    alias="champion",
    items=(
        frames.BatchItem(size_bytes=9, remaining_ms=1990, request_id="req-1"),
        frames.BatchItem(size_bytes=12, remaining_ms=1500, probabilities=True, request_id="req-2"),
    ),
)
"""The header of a prediction batch."""

REPLY = frames.ReplyHeader(
    version=12,
    inference_us=310,
    queue_us=120,
    items=(
        frames.ReplyItem(size_bytes=17, rows=1),
        frames.ReplyItem(error=errors.ErrorBody("bad_input", "The input has the wrong shape or meaning.")),
    ),
)
"""The header of its answer."""

ENCODED_BATCH = frames.BatchHeader(
    model="churn",
    version=12,
    items=(
        frames.BatchItem(
            size_bytes=80,
            remaining_ms=1990,
            encoding="tensors",
            probabilities=True,
            request_id="req-1",
            tensors=(
                frames.Tensor("age", "FP64", (5,), 40, "raw"),
                frames.Tensor("city", "BYTES", (5, 1), 40),
            ),
            outputs=(frames.Wanted("predict"), frames.Wanted("predict_proba", "raw")),
        ),
    ),
    schema=frames.SCHEMA_ENCODINGS,
)
"""The header of a batch whose requests came in another encoding than JSON rows."""

ENCODED_REPLY = frames.ReplyHeader(
    version=12,
    inference_us=310,
    queue_us=120,
    items=(
        frames.ReplyItem(
            size_bytes=91,
            rows=5,
            outputs=(
                frames.Output("predict", "INT64", (5,), 11),
                frames.Output("predict_proba", "FP64", (5, 2), 80),
            ),
        ),
    ),
    schema=frames.SCHEMA_ENCODINGS,
)
"""The header of its answer."""
