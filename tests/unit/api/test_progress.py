"""Which progress becomes an event."""

from __future__ import annotations

from api.jobs.progress import ProgressFilter
from wire import messages


class Clock:
    """Seconds, moved by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def said(fraction: float, stage: str = "fit", message: str = "") -> messages.TrainProgress:
    return messages.TrainProgress(job_id="j", fraction=fraction, stage=stage, message=message)


def test_first_progress_always_passes() -> None:
    admitted = ProgressFilter(Clock()).admit(said(0.0))
    assert admitted is not None
    assert (admitted.fraction, admitted.stage) == (0.0, "fit")


def test_signs_of_life_that_say_nothing_new_make_no_events() -> None:
    clock = Clock()
    progress = ProgressFilter(clock)
    progress.admit(said(0.5))
    clock.now_s = 100
    assert progress.admit(said(0.5)) is None


def test_at_most_two_events_a_second_and_the_pause_grows() -> None:
    clock = Clock()
    progress = ProgressFilter(clock)
    admitted = 0
    for step in range(10_000):
        clock.now_s = step / 10
        admitted += progress.admit(said(step / 20_000)) is not None
        if step == 100:
            assert admitted <= 21
    assert 400 < admitted < 900


def test_fraction_never_falls_and_stays_within_bounds() -> None:
    clock = Clock()
    progress = ProgressFilter(clock)
    fractions = []
    for step, fraction in enumerate((0.2, 0.1, -3.0, 0.4, 7.0)):
        clock.now_s = step * 10.0
        admitted = progress.admit(said(fraction, message=str(step)))
        assert admitted is not None
        fractions.append(admitted.fraction)
    assert fractions == [0.2, 0.2, 0.2, 0.4, 1.0]


def test_progress_that_could_not_be_stored_is_offered_again() -> None:
    progress = ProgressFilter(Clock())
    progress.forget()
    assert progress.admit(said(0.5)) is not None
    progress.forget()
    assert progress.admit(said(0.5)) is not None
