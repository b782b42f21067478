"""The judge of the mixed run: it must see what is wrong, or its clean scoreboards say nothing."""

import json
from typing import Any

import numpy as np
import pytest

from loadtests.mixed import models
from loadtests.mixed.cases import Case, Target
from loadtests.mixed.judging import Scoreboard
from loadtests.mixed.truth import Answers, Truth

RIGHT = {"model": "mix-scores", "version": 2, "predictions": ["yes", "no"], "request_id": "mixed-1"}
SHARES = [[0.25, 0.75], [0.9, 0.1]]


def truth(classes: list[str] | None) -> Truth:
    made = Truth.__new__(Truth)
    made.model, made.version, made.classes, made.scale = "mix-scores", 2, classes, 10.0
    return made


def case(**changed: Any) -> Case:
    """A request of the second and third row of a pool of three."""
    target = Target(models.TABLES[0], truth(["no", "yes"]), (None,), 1.0)
    target.answers = Answers(np.array([0, 1, 0]), np.array([[0.6, 0.4], *SHARES]))
    return Case("predict", target=target, start=1, stop=3, **changed)


def judged(asked: Case, told: Any, status: int = 200, header_id: str = "mixed-1") -> Scoreboard:
    board = Scoreboard()
    board.judge(asked, "mixed-1", status, header_id, told if isinstance(told, bytes) else json.dumps(told).encode())
    return board


def test_a_right_answer_counts_its_rows() -> None:
    board = judged(case(), RIGHT)
    assert (board.clean, board.right["predict"], board.rows) == (True, 1, 2)
    assert judged(case(probabilities=True), RIGHT | {"probabilities": SHARES}).clean


@pytest.mark.parametrize(
    ("told", "header_id"), [(RIGHT, "mixed-2"), (RIGHT | {"request_id": "mixed-2"}, "mixed-1"), (RIGHT, "")]
)
def test_an_answer_with_another_requests_id_is_crossed(told: Any, header_id: str) -> None:
    board = judged(case(), told, header_id=header_id)
    assert (board.clean, board.crossed, board.wrong) == (False, 1, 0)


@pytest.mark.parametrize(
    "told",
    [
        RIGHT | {"predictions": ["no", "yes"]},
        RIGHT | {"predictions": ["yes"]},
        RIGHT | {"predictions": ["yes", "perhaps"]},
        RIGHT | {"model": "mix-forest"},
        RIGHT | {"version": 1},
        RIGHT | {"probabilities": SHARES},
        b"<html>",
        {"request_id": "mixed-1"},
    ],
)
def test_an_answer_that_says_something_else_is_wrong(told: Any) -> None:
    board = judged(case(), told)
    assert (board.clean, board.crossed, board.wrong) == (False, 0, 1)


def test_probabilities_of_another_row_are_wrong() -> None:
    asked = case(probabilities=True)
    assert judged(asked, RIGHT).wrong == 1
    assert judged(asked, RIGHT | {"probabilities": SHARES[::-1]}).wrong == 1


def test_of_two_classes_that_are_equally_probable_either_is_right() -> None:
    asked = case()
    assert asked.target is not None
    assert asked.target.answers is not None
    assert asked.target.answers.probabilities is not None
    asked.target.answers.probabilities[1] = 0.5, 0.5
    assert judged(asked, RIGHT | {"predictions": ["no", "no"]}).clean


def test_a_number_is_judged_by_the_spread_of_the_numbers() -> None:
    target = Target(models.TABLES[1], truth(None), (None,), 1.0)
    target.answers = Answers(np.array([100.0]), None)
    asked = Case("predict", target=target, start=0, stop=1)
    told = RIGHT | {"model": "mix-prices"}
    assert judged(asked, told | {"predictions": [100.00005]}).clean
    assert judged(asked, told | {"predictions": [100.001]}).wrong == 1


def test_a_refusal_must_be_the_expected_one_at_the_expected_place() -> None:
    asked = case(status=422, code="bad_input", place="instances[1].n0")
    told = {"request_id": "mixed-1", "code": "bad_input", "errors": [{"at": "instances[1].n0", "problem": "…"}]}
    assert judged(asked, told, 422).clean
    assert judged(asked, told, 400).wrong == 1
    assert judged(asked, told | {"code": "too_large"}, 422).wrong == 1
    assert judged(asked, told | {"errors": [{"at": "instances[0].n0"}]}, 422).wrong == 1


def test_a_request_without_an_answer_spoils_the_run() -> None:
    board = Scoreboard()
    board.miss(case(), "mixed-1", "connection lost")
    assert not board.clean
    assert "connection lost" in str(board)
