"""What a predictor counts: from every module of this package to its ``/metrics``."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from wire import telemetry

ROWS_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
"""Upper bounds of a batch's rows, up to the most one prediction may have."""

batch_rows = telemetry.histogram("predict_batch_rows", "Rows of one inference", buckets=ROWS_BUCKETS)
"""How large the batches are that are computed at once."""
inference_seconds = telemetry.histogram("predict_inference_seconds", "Seconds of one inference, decoding included")
"""How long a batch is computed, from its bytes to its answers."""
waited_seconds = telemetry.histogram("predict_waited_seconds", "Seconds a batch waited in this process")
"""From the arrival of a batch to the start of its work."""
requests = telemetry.counter("predict_requests", "Requests answered, by outcome", ["outcome"])
"""By outcome: ``done``, or the code of the error."""
redelivered = telemetry.counter("predict_redelivered", "Batches that came a second time and were not computed")
"""Each of them may have ended another predictor."""
loads = telemetry.counter("version_loads", "Attempts to load a version, by outcome", ["outcome"])
"""By outcome: ``done``, or the code of the error."""
load_seconds = telemetry.histogram("version_load_seconds", "Seconds to read, verify, load and warm a version")
"""For loads that ended well."""
evictions = telemetry.counter(
    "version_evictions", "Versions unloaded for room, or because nobody asked for them any more"
)
"""Least recently used first."""
loaded_versions = telemetry.gauge("loaded_versions", "Versions in memory")
"""How many versions are held."""
loaded_bytes = telemetry.gauge("loaded_bytes", "Bytes that the loaded versions are reckoned to take")
"""What counts against ``predict.memory_bytes``."""
corrupt_versions = telemetry.gauge(
    "corrupt_versions", "Alarm: versions that failed verification and have not recovered"
)
"""Anything above 0 wants a person: an artefact on the volume is not what was signed."""
fallbacks = telemetry.counter("predict_fallbacks", "Alarm: batches served by the last good version of an alias")
"""The alias names a version that cannot be served."""

bulk_seconds = telemetry.histogram(
    "bulk_block_seconds", "Seconds from the start of a block to its answers, waits included"
)
"""How long a block of an offline prediction takes while live ones come and go."""
bulk_rows = telemetry.counter("bulk_rows", "Rows answered for offline predictions")
"""Without those of blocks that were refused."""
bulk_redelivered = telemetry.counter("bulk_redelivered", "Blocks that came a second time and were not computed")
"""Each of them may have ended another predictor."""


_by_outcome = lru_cache(maxsize=64)(requests.labels)


def count_requests(outcome: str, requests: int) -> None:
    """Count the ends of some requests; the label's child is kept, because this runs for every batch."""
    _by_outcome(outcome).inc(requests)
