"""An alias is obeyed the moment it moves, and the last good version serves when its own is not."""

from __future__ import annotations

import pytest

from model_store import aliases
from predictor import metrics
from predictor import references as referring
from predictor.references import References
from predictor.registry import Registry
from tests.unit.predictor.artefacts import Shelf, regression
from tests.unit.predictor.loading import soon
from wire import errors


def test_an_alias_is_obeyed_the_moment_it_moves(shelf: Shelf, references: References) -> None:
    shelf.publish(regression())
    assert references.resolve("m", 0, "", soon()).version == 1
    shelf.publish(regression())
    assert references.resolve("m", 0, "champion", soon()).version == 2
    aliases.move_alias(shelf.volume, "m", "canary", 1)
    assert references.resolve("m", 0, "canary", soon()).version == 1
    assert references.resolve("m", 2, "canary", soon()).version == 2
    aliases.rollback(shelf.volume, "m")
    assert references.resolve("m", 0, "", soon()).version == 1


def test_an_unknown_alias_is_not_found(shelf: Shelf, references: References) -> None:
    with pytest.raises(errors.ModelNotFound):
        references.resolve("m", 0, "", soon())
    shelf.publish(regression(), champion=False)
    with pytest.raises(errors.AliasNotFound):
        references.resolve("m", 0, "", soon())


def test_the_last_good_version_serves_when_the_champion_is_corrupt(shelf: Shelf, references: References) -> None:
    shelf.publish(regression())
    assert references.resolve("m", 0, "", soon()).version == 1
    shelf.spoil(shelf.publish(regression()))
    before = metrics.fallbacks._value.get()
    assert references.resolve("m", 0, "", soon()).version == 1
    assert metrics.fallbacks._value.get() == before + 1
    with pytest.raises(errors.ModelCorrupt):
        references.resolve("m", 2, "", soon())


def test_a_predictor_that_just_started_serves_the_version_before_a_corrupt_one(
    shelf: Shelf, references: References
) -> None:
    shelf.publish(regression())
    shelf.spoil(shelf.publish(regression()))
    assert references.resolve("m", 0, "", soon()).version == 1


def test_with_no_good_version_left_a_corrupt_one_is_an_error(shelf: Shelf, references: References) -> None:
    shelf.spoil(shelf.publish(regression()))
    with pytest.raises(errors.ModelCorrupt):
        references.resolve("m", 0, "", soon())
    shelf.spoil(shelf.publish(regression()))
    with pytest.raises(errors.ModelCorrupt):
        references.resolve("m", 0, "", soon())


def test_an_alias_that_cannot_be_read_leaves_the_last_good_version(shelf: Shelf, references: References) -> None:
    shelf.publish(regression())
    references.resolve("m", 0, "", soon())
    (shelf.volume.aliases("m") / "champion.json").write_bytes(b"{")
    assert references.resolve("m", 0, "", soon()).version == 1


def test_remembered_aliases_are_bounded(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    monkeypatch.setattr(referring, "MAX_GOOD", 1)
    resolver = References(shelf.volume, registry, remote=True)
    for model in ("m", "n"):
        shelf.publish(regression(), model)
        resolver.resolve(model, 0, "", soon())
    assert list(resolver._good) == [("n", "champion")]
