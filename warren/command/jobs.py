"""``warren jobs``, ``watch`` and ``cancel``: what is being trained, how far it is, and stopping it.

Between the command line and the calls under /jobs.
"""

from __future__ import annotations

import click

from warren import errors
from warren.answers import JobResult, Jobs, JobView, Progress
from warren.command import completion, exits
from warren.command.session import Bar, Session, command, table
from warren.jobs import Job

JOB = click.argument("job_id", metavar="JOB", shell_complete=completion.job_ids)
"""The id of a job."""
STATES = ("queued", "running", "succeeded", "failed", "cancelled")
"""The states a job can have."""


@click.command()
@click.argument("model", required=False, shell_complete=completion.models)
@click.option("--status", type=click.Choice(STATES), help="Only jobs in this state.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many at most.")
@command
def jobs(session: Session, model: str | None, status: str | None, limit: int) -> None:
    """List the newest jobs, of MODEL or of all."""
    page = session.client.jobs(model, status, limit)
    while page.next_cursor is not None and len(page.jobs) < limit:  # a page of large requests ends early
        more = session.client.jobs(model, status, limit - len(page.jobs), page.next_cursor)
        page = Jobs((*page.jobs, *more.jobs), more.next_cursor)
    rows = [
        (each.job_id, each.model, each.kind, each.status, f"{each.progress.fraction:.0%}", each.created_at)
        for each in page.jobs
    ]
    session.show(page, lambda: table(("JOB", "MODEL", "KIND", "STATUS", "DONE", "CREATED"), rows))


@click.command()
@JOB
@command
def watch(session: Session, job_id: str) -> int:
    """Watch a job until it ends; with --json, every event as a line."""
    job = session.client.job(job_id)
    if session.as_json:
        for event in job.events():
            session.line({"id": event.id, "event": event.name, **event.data})
        return exits.OK if job.refresh().status == "succeeded" else exits.FAILED
    return followed(session, job)


@click.command()
@JOB
@command
def cancel(session: Session, job_id: str) -> None:
    """Stop a job, waiting or running."""
    view = session.client.job(job_id).cancel()
    session.show(view, lambda: _cancelled(view))


def followed(session: Session, job: Job) -> int:
    """Show a job's progress up to its end, and the end; the exit status. Ctrl-C leaves the job running."""
    try:
        with session.progress("Waiting", 1.0) as bar:
            result = job.wait(on_progress=lambda progress: _show(bar, progress))
    except KeyboardInterrupt:
        session.say(f"\nThe job goes on. Watch it: warren watch {job.id}    Stop it: warren cancel {job.id}")
        return exits.INTERRUPTED
    except (errors.JobFailed, errors.JobCancelled) as error:
        if session.as_json:
            session.show(job.view, str)
        else:
            session.say(f"Job {job.id} {job.status}: {error.message} ({error.code})")
        return exits.FAILED
    except errors.NotAnswered:
        session.say(f"Lost sight of the job, which goes on. Watch it: warren watch {job.id}")
        raise
    session.show(job.view, lambda: ended_well(job, result))
    return exits.OK


def ended_well(job: Job, result: JobResult) -> str:
    """What a job that succeeded has made."""
    if job.view.kind != "train":
        refused = f", {result.refused} of them refused" if result.refused else ""
        return f"{result.rows} rows predicted by {result.model}, version {result.version}{refused}."
    figures = [(name, f"{value:.4f}") for name, value in result.metrics.items() if isinstance(value, int | float)]
    served = "the champion" if result.promoted else "not the champion"
    lines = [f"{result.model}, version {result.version}: {served}. {result.promotion_reason}".rstrip()]
    if figures:
        lines.append(table(("METRIC", "VALUE"), figures))
    return "\n".join(lines)


def _show(bar: Bar, progress: Progress) -> None:
    bar.to(progress.fraction, " ".join(part for part in (progress.stage, progress.message) if part) or "Waiting")


def _cancelled(view: JobView) -> str:
    if view.ended:
        return f"Job {view.job_id} has ended: {view.status}."
    return f"Job {view.job_id} is being stopped; warren watch {view.job_id} shows its end."
