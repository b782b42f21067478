"""A change that nobody waits for any more is not made over a later one, and none is made twice."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from model_store import aliases
from tests.unit.model_store.disturbing import Store, move
from trainer.announce import Announcer, Warmed
from trainer.changes import Changes
from wire import errors, messages
from wire.deadlines import Deadline

SET = messages.SetAlias(model="iris", alias="champion", version=3)
BACK = messages.Rollback(model="iris")


class HeldUp(Announcer):
    """While it asks the predictors, something else happens."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = meanwhile

    def forget(self, model: str, version: int) -> None:
        """There is nobody to forget it."""

    def warm(self, model: str, version: int, deadline: Deadline, give_up: Callable[[], object] = lambda: None) -> Any:
        self._meanwhile()
        return Warmed()


def make(
    store: Store,
    change: messages.Message,
    meanwhile: Callable[[], object] = lambda: None,
    within_s: float = 60.0,
    asked: str = "",
    again: bool = False,
) -> Any:
    request: Any = SimpleNamespace(
        kind=change.TYPE,
        body=change.encode(),
        deadline=Deadline.after(within_s),
        correlation_id=asked,
        redelivered=again,
    )
    return Changes(store.volume, store.verifier, HeldUp(meanwhile), 30.0).handle(request)


@pytest.fixture
def four(three: Store) -> Store:
    """A champion 2 that was 1 before, and versions 3 and 4."""
    three.publish(job_id="job-4")
    move(three, 1)
    move(three, 2)
    return three


def champion(store: Store) -> int:
    return aliases.read_alias(store.volume, "iris", "champion").version


@pytest.mark.parametrize("change", [SET, BACK])
def test_a_change_that_was_overtaken_while_predictors_loaded_is_not_made(four: Store, change: messages.Message) -> None:
    with pytest.raises(errors.StaleChampion):
        make(four, change, lambda: move(four, 4))

    assert champion(four) == 4


@pytest.mark.parametrize("change", [SET, BACK])
def test_a_change_whose_requester_has_given_up_is_not_made(four: Store, change: messages.Message) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        make(four, change, lambda: None, within_s=0.0)

    assert champion(four) == 2


def test_a_change_goes_on_from_the_last_one_whatever_the_alias_shows(four: Store) -> None:
    path = four.volume.aliases("iris") / "champion.json"
    for spoilt in (b"{", b""):
        path.write_bytes(spoilt)
        assert make(four, SET, lambda: None).previous == 2
        move(four, 2)
    path.unlink()

    assert make(four, SET, lambda: None).version == 3
    assert champion(four) == 3


def test_a_rollback_that_comes_again_goes_back_once(four: Store) -> None:
    """Its trainer died before it answered, and the next one is given the message."""
    made = make(four, BACK, asked="r1")
    assert make(four, BACK, asked="r1", again=True) == made
    assert champion(four) == 1

    move(four, 4)
    assert make(four, BACK, asked="r1", again=True) == made
    assert champion(four) == 4

    assert make(four, BACK, asked="r2").version == 1


def test_a_deletion_that_comes_again_was_made(four: Store) -> None:
    alias = messages.DeleteAlias(model="iris", alias="champion")
    gone = make(four, alias, asked="d1")
    assert make(four, alias, asked="d1", again=True) == gone

    with pytest.raises(errors.AliasNotFound):
        make(four, alias, asked="d2", again=True)

    version, model = messages.DeleteVersion(model="iris", version=3), messages.DeleteModel(model="iris")
    for deletion, missing in ((version, errors.VersionNotFound), (model, errors.ModelNotFound)):
        make(four, deletion)
        with pytest.raises(missing):
            make(four, deletion)
        assert make(four, deletion, again=True) == messages.Deleted()
