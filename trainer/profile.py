"""A dataset's profile: rows, and each column's type, missing cells and distinct values.

Runs as a child of the trainer (``python -m trainer.profile <dataset folder>``), which passes its
one line of JSON on to the replica: a DatasetProfile, or a Failure with the sentence for a person.
Memory is bounded by blocks, not by the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trainer.column_types import ColumnFacts, count_values, infer
from trainer.table_blocks import Kind, Source, open_source
from trainer.table_files import find_table
from wire import errors, messages


def profile(path: Path, kind: Kind) -> messages.DatasetProfile:
    """Profile one file. Raises errors.BadInput when it cannot be trained on."""
    source = open_source(path, kind)
    columns = infer(source)
    return messages.DatasetProfile(
        rows=columns[0].rows,
        columns=tuple(
            messages.ColumnProfile(facts.name, facts.type, facts.missing, _distinct(source, facts)) for facts in columns
        ),
    )


def _distinct(source: Source, facts: ColumnFacts) -> int | messages.MoreThan:
    distinct = facts.distinct
    if distinct is None and facts.form:
        distinct = count_values(source, facts)
    return messages.MoreThan(1_000) if distinct is None else distinct


def main(arguments: list[str]) -> int:
    """Profile the dataset whose folder is the one argument; the answer is a line on standard output."""
    answer: messages.DatasetProfile | messages.Failure
    try:
        path, kind = find_table(Path(arguments[0]))
        answer = profile(path, kind)
    except errors.WarrenError as error:
        answer = messages.Failure(error=error.to_body())
    except MemoryError:
        refused = errors.BadInput("The table needs more memory to inspect than allowed.", hint="Use fewer columns.")
        answer = messages.Failure(error=refused.to_body())
    sys.stdout.buffer.write(answer.encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
