"""Whether a version becomes champion, what the store's errors are called, and the pulse of a training."""

from __future__ import annotations

import errno
import itertools
import threading

import pytest

from model_store import errors as store
from model_store.manifest import Manifest
from trainer import promotion, store_errors
from trainer.pulse import Pulse
from trainer.spec import Comparison
from wire import errors, messages

BETTER = Comparison(champion=3, champion_score=0.5, better=True, reason="it is better")
WORSE = Comparison(champion=3, champion_score=0.5, better=False, reason="it is worse")
UNLIKE = Comparison(champion=3, champion_score=None, better=None, reason="the targets differ")
FIRST = Comparison(champion=0, champion_score=None, better=None, reason="there is none")


@pytest.mark.parametrize(
    ("promote", "comparison", "move", "expected"),
    [
        ("if_better", BETTER, True, 3),
        ("if_better", WORSE, False, 3),
        ("if_better", UNLIKE, False, 3),
        ("if_better", FIRST, True, 0),
        ("if_better", None, False, None),
        ("always", WORSE, True, None),
        ("always", None, True, None),
        ("never", BETTER, False, None),
        ("never", FIRST, False, None),
    ],
)
def test_a_version_becomes_champion_as_the_request_and_the_comparison_say(
    promote: messages.Promote, comparison: Comparison | None, move: bool, expected: int | None
) -> None:
    intent = promotion.intent(promote, comparison)

    assert (intent.move, intent.expected) == (move, expected)
    assert intent.reason


def _is_declared(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, store.StoreError) and kind is not store.StoreError


def manifest(comparison: dict[str, object]) -> Manifest:
    return Manifest(
        model="iris",
        job_id="job-1",
        created_at="",
        estimator="",
        task="regression",
        target="",
        runtime="onnx",
        comparison=comparison,
    )


def test_a_comparison_is_read_back_from_the_manifest() -> None:
    said = {"champion": 3, "champion_score": 0.5, "better": True, "reason": "it is better"}

    assert promotion.comparison_of(manifest(said)) == BETTER
    assert promotion.comparison_of(manifest({})) is None


@pytest.mark.parametrize("kind", [kind for kind in vars(store).values() if _is_declared(kind)])
def test_every_error_of_the_store_travels_as_one_of_ours(kind: type[store.StoreError]) -> None:
    arguments = {store.VersionAliased: (["champion"],), store.StaleAlias: (3,)}.get(kind, ("a reason",))

    error = store_errors.to_wire(kind(*arguments))

    assert isinstance(error, errors.Answered)
    assert kind in store_errors._KINDS
    with pytest.raises(type(error)), store_errors.translated():
        raise kind(*arguments)


def test_what_the_trainer_itself_cannot_write_is_a_full_volume_too() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(errors.StorageFull), store_errors.translated():
            raise OSError(number, "there is no room")
    with pytest.raises(OSError, match="read-only"), store_errors.translated():
        raise OSError(errno.EROFS, "read-only")


def test_a_manifest_that_is_too_large_is_the_trainings_fault_and_says_so() -> None:
    error = store_errors.to_wire(store.TooLarge("it is over 8 MiB"))
    assert (type(error), error.message) == (errors.TrainingFailed, "it is over 8 MiB")


def test_an_alias_too_many_is_a_conflict_with_a_way_out() -> None:
    error = store_errors.to_wire(store.TooManyAliases("a model has at most 100 aliases"))
    assert (error.code, "Delete" in error.hint) == ("conflict", True)


def test_an_error_of_the_store_without_a_name_is_internal() -> None:
    assert type(store_errors.to_wire(store.StoreError())) is errors.InternalError


class Heard:
    """Collects what a pulse sends."""

    def __init__(self) -> None:
        self.said: list[messages.TrainProgress] = []
        self.moved = threading.Condition()

    def __call__(self, progress: messages.TrainProgress) -> None:
        with self.moved:
            self.said.append(progress)
            self.moved.notify_all()

    def until(self, count: int) -> None:
        with self.moved:
            assert self.moved.wait_for(lambda: len(self.said) >= count, 20)


def test_a_pulse_repeats_the_last_word_and_never_goes_back() -> None:
    heard = Heard()
    with Pulse("job-1", 0.3, heard) as pulse:
        pulse.say(0.5, "fitting", "fold 1")
        pulse.say(0.4, "judging")
        heard.until(4)

    moves = [move for move, _ in itertools.groupby((said.fraction, said.stage) for said in heard.said)]
    assert moves == [(0.5, "fitting"), (0.5, "judging")]
    assert pulse.fraction == 0.5


def test_a_pulse_thins_out_what_comes_fast_but_sends_the_last_of_it() -> None:
    heard = Heard()
    with Pulse("job-1", 60, heard) as pulse:
        for step in range(100):
            pulse.say(step / 1000, "fitting")
        with heard.moved:
            assert heard.moved.wait_for(lambda: heard.said[-1].fraction == 0.099, 20)

    assert len(heard.said) < 20


def test_a_pulse_that_has_nothing_to_say_is_silent() -> None:
    heard = Heard()
    with Pulse("job-1", 0.2, heard):
        threading.Event().wait(0.5)

    assert heard.said == []
