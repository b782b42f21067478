"""docs/wire-format.md says what the code does."""

import re
from pathlib import Path

import pytest

from wire import errors, messages, topology

PAGE = (Path(__file__).parents[3] / "docs" / "wire-format.md").read_text()


def rows(first_column: str) -> dict[str, list[str]]:
    """The cells of each row of the table with this first column, by the row's first cell."""
    table = re.search(rf"^\| {first_column} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table is not None, first_column
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_exchanges_are_those_of_the_topology() -> None:
    expected = {
        exchange.name: [exchange.kind, ", ".join(exchange.writers), ", ".join(exchange.binders) or "-"]
        for exchange in topology.EXCHANGES
    }
    assert rows("exchange") == expected


def test_the_queues_are_those_of_the_topology() -> None:
    for queue in topology.QUEUES:
        readers, arguments = rows("queue")[queue.name]
        assert readers == ", ".join(queue.readers)
        assert dict(re.findall(r"`([^:`]+): ([^`]+)`", arguments)) == {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in queue.arguments.items()
        }
    assert rows("queue").keys() == {queue.name for queue in topology.QUEUES}


def test_every_message_is_described() -> None:
    kinds = {kind.TYPE: kind.__name__ for kind in messages.Message.__subclasses__()}
    assert {kind: cells[0].strip("`") for kind, cells in rows("type").items()} == kinds


@pytest.mark.parametrize("kind", [*errors.REGISTERED.values(), *errors.NotAnswered.__subclasses__()])
def test_every_error_is_described(kind: type[errors.WarrenError]) -> None:
    default, travels = rows("code")[kind.code]
    assert default == kind().message
    assert travels == ("yes" if issubclass(kind, errors.Answered) else "no")
