"""How a stack that is to be broken is set: in seconds what otherwise takes minutes."""

from __future__ import annotations

TUNING = {
    # Leases and silences of seconds, so that two hundred kills of a worker take minutes; what they are for
    # stays the same. Attempts are counted by tests of their own (test_job_faults, F21): here none may end a job.
    "WARREN_TRAIN__LEASE_RENEW_S": "1",
    "WARREN_TRAIN__LEASE_STALE_S": "4",
    "WARREN_TRAIN__ALIVE_S": "1",
    "WARREN_TRAIN__SILENCE_S": "4",
    "WARREN_TRAIN__ATTEMPTS": "50",
    "WARREN_RETENTION__SWEEP_S": "10",
    "WARREN_RETENTION__VERSIONS_PER_MODEL": "100000",
}
"""Settings of every fault stack."""
PATIENT = {"WARREN_PREDICT__DEADLINE_MS": "10000"}
"""And of the fast tier's, which runs beside whatever else a machine does: a replica that stood still for two seconds
finds that the deadlines of all it holds have passed, and says 504 to what is only late. Scenarios that judge by the
deadline name one in each request (Load.deadline_s)."""
