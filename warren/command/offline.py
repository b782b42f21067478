"""``warren predict --dataset`` and ``warren output``: an upload predicted at the gateway, and the result fetched.

Between the command line and POST /batch-predictions. The rows never come here; only the output does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from warren import outputs
from warren.command import exits, jobs
from warren.command.session import Session, command
from warren.jobs import Job

OUTPUT = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Write to a file."
)
"""Where an output goes."""


def whole(session: Session, model: str, dataset_id: str, given: dict[str, Any]) -> int:
    """Have an upload predicted, wait for it, and fetch the output; the exit status."""
    path: Path | None = given["output"]
    if path is None and not given["detach"]:
        raise click.UsageError("Give -o FILE for the output, or --detach to fetch it later with warren output.")
    version = int(given["version"]) if given["version"].isdecimal() else given["version"]
    columns = () if given["only_predictions"] else "all"
    job = session.client.predict_dataset(
        model, {"id": dataset_id}, version=version, probabilities=given["probabilities"], columns=columns
    )
    if path is None:
        session.show({"job_id": job.id, "status": job.status}, lambda: job.id)
        return exits.OK
    if not session.as_json:
        session.say(f"Predicting dataset {dataset_id} with {model}: job {job.id}")
    ended = jobs.followed(session, job)
    return _fetched(session, job, path) if ended == exits.OK else ended


@click.command()
@jobs.JOB
@OUTPUT
@command
def output(session: Session, job_id: str, output: Path | None) -> int:
    """Fetch the output of a job that predicted a dataset: Parquet into a file called so, else CSV."""
    if output is None:
        raise click.UsageError("Give -o FILE for the output.")
    return _fetched(session, session.client.job(job_id), output)


def _fetched(session: Session, job: Job, path: Path) -> int:
    job.save(path)
    size = f", {path.stat().st_size} bytes" if path.is_file() else ""
    session.say(f"Wrote {path} ({outputs.format_of(path)}{size}).")
    refused = job.result.refused if job.result else 0
    return exits.FAILED if refused else exits.OK
