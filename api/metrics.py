"""What a replica counts about itself; shown on its own metrics port by ``wire.telemetry``.

Beside the routes. ``route`` is a path template such as ``/models/{model}``, never a path: a
client must not be able to make series.
"""

from __future__ import annotations

from typing import Final

from wire import telemetry

requests = telemetry.counter("http_requests", "HTTP requests answered", ["route", "method", "status"])
"""By route, method and status; status 499 is a client that left first."""
request_seconds = telemetry.histogram("http_request_seconds", "Seconds from request to answer", ["route"])
"""By route: from the request's headers to the end of its answer."""
in_flight = telemetry.gauge("http_in_flight", "HTTP requests being worked on")
"""Every request of this replica that has no answer yet."""
held = telemetry.gauge("predict_held", "Predictions waiting or under way")
"""Predictions that count against predict.waiting_requests."""
batch_requests = telemetry.histogram(
    "predict_batch_requests", "Requests per prediction batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
"""How many requests went out together."""
batch_seconds = telemetry.histogram("predict_batch_seconds", "Seconds from sending a batch to its answer")
"""Batches that were answered."""
rejected = telemetry.counter("predict_rejected", "Predictions not answered with a result", ["reason"])
"""By error code."""
hedges = telemetry.counter("predict_hedges", "Batches sent a second time because they were late")
"""Counted when the second copy is sent."""
hedges_refused = telemetry.counter("predict_hedges_refused", "Late batches not sent again: the budget was spent")
"""See settings predict.hedge_share."""
retried_alone = telemetry.counter("predict_retried_alone", "Requests sent by themselves after their batch came back")
"""A predictor ended while it held their batch."""
crashed = telemetry.counter("predict_crashed", "Requests that ended a predictor twice")
"""Each is a request worth a look."""
abandoned = telemetry.counter("predict_abandoned", "Predictions whose client left before the answer")
"""They are taken out of the line when they still wait."""

CLIENT_LEFT: Final = 499
"""The status counted for a client that left; never sent."""
