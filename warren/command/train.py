"""``warren train``: upload a table, train on it, and watch.

Between the command line and POST /datasets and /train.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from warren import training
from warren.command import completion, datasets, exits, jobs
from warren.command.session import Session, command


class Setting(click.ParamType[tuple[str, Any]]):
    """``NAME=VALUE``; the value is JSON where it can be read as such, else text."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """The name and the value (click's hook)."""
        name, separator, text = str(value).partition("=")
        if not separator or not name:
            self.fail(f"{value} is not of the form NAME=VALUE", param, ctx)
        try:
            return name, msgspec.json.decode(text)
        except msgspec.DecodeError:
            return name, text


_HELP = """Train MODEL on FILE (CSV or Parquet) to predict a column, and watch it.

\b
warren train customers.csv --model churn --target left
warren train --sample iris --model flowers
"""


@click.command(help=_HELP)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", required=True, help="The model's name.", shell_complete=completion.models)
@click.option("--target", default="target", show_default=True, help="The column to predict.")
@click.option("--dataset", metavar="ID", help="An upload to train on, instead of FILE.")
@click.option("--sample", metavar="NAME", help="One of scikit-learn's own tables, such as iris.")
@click.option("--estimator", metavar="NAME", help="A scikit-learn classifier or regressor; else a few are tried.")
@click.option("--param", "params", type=Setting(), multiple=True, help="A parameter: --param n_estimators=200.")
@click.option("--search", metavar="JSON", help='Values to try: \'{"space": {"max_depth": [3, 5]}}\'.')
@click.option("--folds", type=click.IntRange(min=2), help="Cross-validate with so many folds.")
@click.option("--holdout", type=click.FloatRange(0, 0.9), help="The share of rows kept out; 0.2 if not given.")
@click.option("--scoring", metavar="NAME", help="The figure that decides, such as roc_auc.")
@click.option("--order-by", metavar="COLUMN", help="A column of time: the newest rows judge the model.")
@click.option(
    "--promote", type=click.Choice(["if_better", "always", "never"]), help="When it becomes the champion: if_better."
)
@click.option("--key", help="An idempotency key of your own: the same key and training are one job.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@command
def train(session: Session, file: Path | None, model: str, target: str, detach: bool, **given: Any) -> int:
    """Train a model; the exit status."""
    data = _data(session, file, given["dataset"], given["sample"])
    job = session.client.train(
        model,
        data,
        target,
        estimator=given["estimator"],
        params=dict(given["params"]) or None,
        search=_json(given["search"]),
        validation=_validation(given),
        promote=given["promote"],
        key=given["key"],
    )
    if detach:
        session.show({"job_id": job.id, "status": job.status}, lambda: job.id)
        return exits.OK
    if not session.as_json:
        session.say(f"Training {model}: job {job.id}")
    return jobs.followed(session, job)


def _data(session: Session, file: Path | None, dataset: str | None, sample: str | None) -> training.Data:
    if sum(choice is not None for choice in (file, dataset, sample)) != 1:
        raise click.UsageError("Give one of FILE, --dataset and --sample.")
    if file is None:
        return {"id": dataset} if dataset else {"sample": sample}
    found = datasets.uploaded(session, file)
    if not session.as_json:
        session.say(datasets.described(found))
    return found


def _json(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise click.BadParameter("is not a JSON object", param_hint="--search") from None


def _validation(given: dict[str, Any]) -> dict[str, Any] | None:
    found = {name: given[name] for name in ("folds", "holdout", "scoring", "order_by") if given[name] is not None}
    return found or None
