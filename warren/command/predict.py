"""``warren predict``: a file of rows in, the same rows with their predictions out.

Between the command line and POST /predict. Files may be larger than the memory: a few pieces are
held at a time, in order.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from warren import errors, flow
from warren.answers import Version
from warren.command import exits, offline, results
from warren.command.models import MODEL
from warren.command.rowfiles import CsvRows, JsonRows, Kind, Lines, Piece, pieces
from warren.command.scoring import Scorer
from warren.command.session import Bar, Session, command

FORMAT = click.Choice(["csv", "jsonl"])
"""What can be read and written."""
FAULTS_SHOWN = 20
"""Rows with a fault that are told one by one; all are counted, and all stand in the output."""
_JSON = {".jsonl", ".ndjson", ".json"}


_HELP = """Predict every row of FILE (CSV or JSON lines; - or nothing: standard input) with MODEL.

\b
warren predict churn customers.csv -o predicted.csv
echo '{"age": 31, "plan": "basic"}' | warren predict churn

The output has the input's columns and a column "prediction". A row that can't be predicted has
none there, is told with its line, and makes the exit status 1.
"""


@click.command(help=_HELP)
@MODEL
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--version", metavar="NUMBER|ALIAS", default="champion", show_default=True, help="Who predicts.")
@click.option("--dataset", metavar="ID", help="An upload to predict at the gateway, instead of FILE; needs -o.")
@click.option("--detach", is_flag=True, help="With --dataset: do not wait; warren output fetches the result.")
@offline.OUTPUT
@click.option("--input-format", type=FORMAT, help="How FILE is written; else by its name or its first byte.")
@click.option("--format", "output_format", type=FORMAT, help="How to write; else as the input is.")
@click.option("--probabilities", is_flag=True, help="Add the probability of each class.")
@click.option("--only-predictions", is_flag=True, help="Leave the input's columns out of the output.")
@click.option("--separator", metavar="CHAR", default="", help="The CSV separator; else , ; tab or | by the header.")
@click.option("--rows", "size", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Per request.")
@click.option("--in-flight", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at once.")
@click.option("--timeout", type=click.FloatRange(0.001, 30), default=30.0, show_default=True, help="Seconds each.")
@click.option("--max-faults", type=click.IntRange(min=0), default=1000, show_default=True, help="Bad rows to bear.")
@command
def predict(session: Session, model: str, file: Path | None, **given: Any) -> int:
    """Predict a file; the exit status."""
    if len(given["separator"]) > 1:
        raise click.BadParameter("is more than one character", param_hint="--separator")
    if given["dataset"]:
        if file is not None:
            raise click.UsageError("Give FILE or --dataset, not both.")
        return offline.whole(session, model, given["dataset"], given)
    version = _version(session, model, given["version"])
    scorer = Scorer(session.client, model, version.version, given["probabilities"], given["timeout"])
    with _input(file) as (source, total):
        run = Run(session, scorer, version, _Source(source, file, total), given)
        return run.all(given["output"])


@dataclass(frozen=True)
class _Source:
    file: BinaryIO
    path: Path | None
    size: int | None

    def kind(self, wanted: Kind | None) -> Kind:
        """The format that is asked for, else what the name or the first byte says."""
        if wanted:
            return wanted
        if self.path is not None and self.path.suffix:
            return "jsonl" if self.path.suffix.lower() in _JSON else "csv"
        peek = getattr(self.file, "peek", None)
        return "jsonl" if peek and peek(1)[:1] in (b"{", b"[") else "csv"


class Run:
    """One run over one file: rows read, sent, written, counted."""

    def __init__(
        self, session: Session, scorer: Scorer, version: Version, source: _Source, given: dict[str, Any]
    ) -> None:
        """``given``: the command's options."""
        self._session = session
        self._scorer = scorer
        self._source = source
        self._given = given
        self._lines = Lines(source.file)
        self._kind: Kind = source.kind(given["input_format"])
        features = version.features
        self._rows: CsvRows | JsonRows = (
            CsvRows(self._lines, features, given["separator"])
            if self._kind == "csv"
            else JsonRows(self._lines, features)
        )
        header = self._rows.header if isinstance(self._rows, CsvRows) else [feature.name for feature in features]
        made = results.JsonResults if self._output_kind() == "jsonl" else results.CsvResults
        classes = version.classes if given["probabilities"] else None
        # JSON rows have names of their own in each line; as CSV only the predictions have a place.
        alone = given["only_predictions"] or (self._kind == "jsonl" and made is results.CsvResults)
        self._results = made(header, classes, alone=alone)
        self._done, self._faults = 0, 0

    def all(self, output: Path | None) -> int:
        """Predict every row; the exit status."""
        self._warn()
        work = pieces(self._rows, self._lines, self._given["size"])
        with (
            results.opened(output) as file,
            self._session.progress("Predicting", self._source.size, unit="bytes") as bar,
            contextlib.closing(flow.ordered(work, self._scorer.score, self._given["in_flight"])) as scored,
        ):
            file.write(self._results.head())
            for piece in scored:
                file.write(self._results.rows(piece.rows))
                self._count(piece, bar)
        self._summary(output)
        return exits.FAILED if self._faults else exits.OK

    def _output_kind(self) -> Kind:
        if self._given["output_format"]:
            chosen: Kind = self._given["output_format"]
            return chosen
        output = self._given["output"]
        if output is not None and output.suffix:
            return "jsonl" if output.suffix.lower() in _JSON else "csv"
        return "jsonl" if self._session.as_json else self._kind

    def _warn(self) -> None:
        if isinstance(self._rows, CsvRows) and self._rows.columns.missing:
            missing = ", ".join(self._rows.columns.missing)
            self._session.say(f"Not in the file, so missing in every row: {missing}")

    def _count(self, piece: Piece, bar: Bar) -> None:
        bar.to(piece.read_bytes)
        self._done += len(piece.rows)
        for row in piece.rows:
            if row.fault:
                self._faults += 1
                if self._faults <= FAULTS_SHOWN and not self._session.as_json:
                    self._session.say(f"line {row.line}: {row.fault}")
        if self._faults > self._given["max_faults"]:
            raise errors.InvalidRows(
                f"{self._faults} rows cannot be predicted. Is it the right file for {self._scorer.model}? "
                "--max-faults allows more."
            )

    def _summary(self, output: Path | None) -> None:
        version = self._scorer.version
        told = {"model": self._scorer.model, "version": version, "rows": self._done, "faults": self._faults}
        if self._session.as_json:
            self._session.say(msgspec.json.encode(told).decode())
            return
        good = self._done - self._faults
        where = f" into {output}" if output else ""
        self._session.say(f"{rows_of(good)} predicted by {told['model']}, version {version}{where}.")
        if self._faults:
            self._session.say(f"{rows_of(self._faults)} could not be predicted, and have no prediction in the output.")
        if isinstance(self._rows, JsonRows) and self._rows.unused:
            self._session.say(f"Not the model's, so not used: {', '.join(sorted(self._rows.unused)[:20])}")


def rows_of(count: int) -> str:
    """A number of rows in words: ``1 row``, ``2 rows``."""
    return "1 row" if count == 1 else f"{count} rows"


def _version(session: Session, model: str, wanted: str) -> Version:
    """The version that answers for the whole run, even when the champion changes meanwhile."""
    number = int(wanted) if wanted.isdecimal() else session.client.served(model, wanted)
    return session.client.version(model, number)


@contextlib.contextmanager
def _input(path: Path | None) -> Iterator[tuple[BinaryIO, int | None]]:
    if path is None or str(path) == "-":
        if sys.stdin.isatty():
            raise click.UsageError("Give a FILE, or rows on standard input.")
        yield sys.stdin.buffer, None
        return
    with path.open("rb") as file:
        yield file, path.stat().st_size
