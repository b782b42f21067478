"""The scenarios: each a function that plays a number of trials on a stage and writes what it saw into a round."""

from __future__ import annotations

from tests.faults.scenarios import (
    brokers,
    clients,
    clocks,
    crowded_names,
    elsewhere,
    full_volumes,
    job_kills,
    kills_of_anybody,
    limits,
    mixed,
    more_jobs,
    network,
    order,
    overload,
    poison,
    predictors,
    replicas,
    spoilt_versions,
)
from tests.faults.scenarios.playing import Scenario

SCENARIOS: dict[str, Scenario] = {
    one.name: one
    for module in (
        replicas,
        mixed,
        job_kills,
        kills_of_anybody,
        predictors,
        brokers,
        more_jobs,
        poison,
        spoilt_versions,
        full_volumes,
        crowded_names,
        clients,
        elsewhere,
        network,
        overload,
        order,
        limits,
        clocks,
    )
    for one in module.SCENARIOS
}
"""Every scenario by its name, in order of value."""
