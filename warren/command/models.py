"""``warren models``, ``versions``, ``alias``, ``rollback`` and ``delete``: what is served, and which version.

Between the command line and the calls under /models.
"""

from __future__ import annotations

import click

from warren.answers import AliasState, Model, Version
from warren.command import completion
from warren.command.session import Session, command, pretty, table

MODEL = click.argument("model", shell_complete=completion.models)
"""The name of a model."""


@click.command()
@command
def models(session: Session) -> None:
    """List the models with their champion and their newest version."""
    found = session.client.models()
    session.show(
        {"models": found},
        lambda: (
            table(
                ("MODEL", "CHAMPION", "VERSIONS", "NEWEST"),
                [(each.model, each.champion or "-", each.versions, each.latest) for each in found],
            )
            if found
            else "There are no models yet; warren train makes one."
        ),
    )


@click.command()
@MODEL
@click.argument("version", type=click.IntRange(min=1), required=False)
@command
def versions(session: Session, model: str, version: int | None) -> None:
    """List MODEL's versions, or show one VERSION with its metrics, columns and lineage."""
    if version is None:
        found = session.client.model(model)
        session.show(found, lambda: _versions(found))
    else:
        one = session.client.version(model, version)
        session.show(one, lambda: _version(one))


@click.command()
@MODEL
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--delete", is_flag=True, help="Remove the alias; the version stays.")
@click.option("--if-now", type=click.IntRange(min=0), help="Only if the alias names this version now (0: none).")
@command
def alias(session: Session, model: str, name: str, version: int | None, delete: bool, if_now: int | None) -> None:
    """Make the alias NAME of MODEL name a VERSION: warren alias churn champion 3."""
    if delete == (version is not None):
        raise click.UsageError("Give a version, or --delete.")
    if version is None:
        session.client.delete_alias(model, name)
        session.show({"model": model, "alias": name, "deleted": True}, lambda: f"{model} has no alias {name} any more.")
    else:
        moved = session.client.set_alias(model, name, version, if_now)
        session.show(moved, lambda: _moved(moved))


@click.command()
@MODEL
@command
def rollback(session: Session, model: str) -> None:
    """Make MODEL's champion the version it was before."""
    moved = session.client.rollback(model)
    session.show(moved, lambda: _moved(moved))


@click.command()
@MODEL
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def delete(session: Session, model: str, version: int | None, yes: bool) -> None:
    """Delete one VERSION of MODEL, or all of MODEL. Needs an admin's key where keys are needed."""
    what = f"version {version} of {model}" if version else f"{model} with all its versions"
    if not yes:
        click.confirm(f"Delete {what} for good?", abort=True, err=True)
    if version:
        session.client.delete_version(model, version)
    else:
        session.client.delete_model(model)
    session.show({"model": model, "version": version, "deleted": True}, lambda: f"Deleted {what}.")


def _moved(moved: AliasState) -> str:
    before = f", before that by {moved.previous}" if moved.previous else ""
    return f"{moved.model}: {moved.alias} is served by version {moved.version}{before}."


def _versions(found: Model) -> str:
    named = {
        each.version: [alias.alias for alias in found.aliases if alias.version == each.version]
        for each in found.versions
    }
    rows = [
        (
            each.version,
            " ".join(named[each.version]) or "-",
            "-" if each.score is None else f"{each.score:.4f} {each.scoring}",
            each.estimator or "-",
            each.runtime,
            each.created_at,
        )
        for each in found.versions
    ]
    return table(("VERSION", "ALIASES", "SCORE", "ESTIMATOR", "RUNTIME", "MADE"), rows)


def _version(one: Version) -> str:
    told = one.manifest
    head = [
        ("model", f"{one.model}, version {one.version}"),
        ("aliases", " ".join(one.aliases) or "-"),
        ("estimator", told.get("estimator", "-")),
        ("target", told.get("target", "-")),
        ("made", f"{told.get('created_at', '-')} by job {told.get('job_id', '-')}"),
        ("runtime", told.get("runtime", "-")),
    ]
    metrics = told.get("metrics") or {}
    figures = [(name, f"{value:.4f}") for name, value in metrics.items() if isinstance(value, float)]
    parts = [table(("", ""), head).lstrip("\n")]
    if figures:
        parts.append(table(("METRIC", "VALUE"), figures))
    if one.features:
        parts.append(table(("COLUMN", "TYPE"), [(feature.name, feature.type) for feature in one.features]))
    elif not figures:
        parts.append(pretty(told))
    return "\n\n".join(parts)
