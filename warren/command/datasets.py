"""``warren datasets``: upload a table, list what was uploaded, let it go.

Between the command line and the calls under /datasets.
"""

from __future__ import annotations

from pathlib import Path

import click

from warren.answers import Dataset, Datasets, MoreThan
from warren.command.session import Session, command, table


@click.group()
def datasets() -> None:
    """Upload, list and delete datasets."""


@datasets.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@command
def upload(session: Session, file: Path) -> None:
    """Upload a CSV or Parquet FILE; the same bytes give the same id."""
    found = uploaded(session, file)
    session.show(found, lambda: described(found))


@datasets.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@command
def list_datasets(session: Session, limit: int) -> None:
    """List the newest datasets."""
    page = session.client.datasets(limit)
    while page.next_cursor is not None and len(page.datasets) < limit:  # a page of wide ones ends early
        more = session.client.datasets(limit - len(page.datasets), page.next_cursor)
        page = Datasets((*page.datasets, *more.datasets), more.next_cursor)
    session.show(
        page,
        lambda: table(
            ("DATASET", "ROWS", "COLUMNS", "BYTES", "FORMAT", "UPLOADED"),
            [
                (
                    one.dataset_id,
                    "-" if one.rows is None else one.rows,
                    "-" if one.columns is None else len(one.columns),
                    one.size_bytes,
                    one.format,
                    one.created_at,
                )
                for one in page.datasets
            ],
        ),
    )


@datasets.command()
@click.argument("dataset_id")
@command
def delete(session: Session, dataset_id: str) -> None:
    """Delete a dataset; refused while a job uses it."""
    session.client.delete_dataset(dataset_id)
    session.show({"dataset_id": dataset_id, "deleted": True}, lambda: f"Deleted {dataset_id}.")


def uploaded(session: Session, file: Path) -> Dataset:
    """Upload a file with a bar."""
    with session.progress(f"Uploading {file.name}", file.stat().st_size, unit="bytes") as bar:
        return session.client.upload(file, bar.by)


def described(found: Dataset) -> str:
    """What a trainer saw in a dataset."""
    head = f"Dataset {found.dataset_id}"
    if found.columns is None:
        return f"{head}: not looked at yet."
    rows = [(each.name, each.type, each.missing, _count(each.distinct)) for each in found.columns]
    return f"{head}: {found.rows} rows\n" + table(("COLUMN", "TYPE", "MISSING", "DIFFERENT"), rows)


def _count(distinct: int | MoreThan) -> str:
    return f"> {distinct.more_than}" if isinstance(distinct, MoreThan) else str(distinct)
