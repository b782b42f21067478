"""The branch of the settings tree (settings.py) that says what is kept, and how long."""

from __future__ import annotations

from pydantic import Field

from wire.section import Section


class Retention(Section):
    """What is kept, and how long: the disk is a buffer too."""

    versions_per_model: int = Field(50, ge=1)
    """Versions of a model; the oldest without an alias go first."""
    jobs_days: float = Field(90, gt=0)
    """Days an ended job and its events are kept."""
    outputs_days: float = Field(7, gt=0)
    """Days the output of an offline prediction is kept; it goes with its job at the latest."""
    datasets_days: float = Field(30, gt=0)
    """Days an unused dataset is kept."""
    audit_days: float = Field(365, gt=0)
    """Days an entry of the audit log is kept, and a key that was revoked or has expired."""
    sweep_s: float = Field(3600, gt=0)
    """Seconds between two sweeps."""
