import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from wire import logs


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    """Whatever was worked on before in this process."""
    token = logs.request_id_var.set("")
    yield
    logs.request_id_var.reset(token)


@contextmanager
def captured(monkeypatch: pytest.MonkeyPatch, level: str = "INFO") -> Iterator[list[dict[str, Any]]]:
    """The lines a process would write; the loggers are put back afterwards."""
    stream, lines = io.StringIO(), list[dict[str, Any]]()
    root, ours, pika = logging.getLogger(), logging.getLogger("warren"), logging.getLogger("pika")
    before = root.handlers[:], root.level, ours.level, pika.level
    monkeypatch.setattr("sys.stderr", stream)
    logs.configure("tester", level)
    try:
        yield lines
    finally:
        root.handlers[:] = before[0]
        for logger, old in zip((root, ours, pika), before[1:], strict=True):
            logger.setLevel(old)
        lines += [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_what_happened_where_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    with captured(monkeypatch) as lines:
        logs.log("model.loaded", model="churn", version=3)
    (line,) = lines
    assert line.pop("time").endswith("Z")
    assert line == {"level": "INFO", "service": "tester", "action": "model.loaded", "model": "churn", "version": 3}


def test_no_value_can_break_a_line_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    with captured(monkeypatch) as lines:
        logs.log("model.loaded", model='x"\r\n{"action":"forged"}', odd={1, 2}.__class__)
    assert [line["model"] for line in lines] == ['x"\r\n{"action":"forged"}']


def test_the_request_being_worked_on_is_in_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with captured(monkeypatch) as lines:
        token = logs.request_id_var.set("r-1")
        logs.log("rpc.sent")
        logs.log("rpc.sent", request_id="given")
        logs.request_id_var.reset(token)
        logs.log("rpc.sent")
    assert [line.get("request_id") for line in lines] == ["r-1", "given", None]


def test_lines_below_the_level_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with captured(monkeypatch, "warning") as lines:
        logs.log("rpc.sent")
        logs.log("rpc.failed", level="ERROR")
    assert [line["action"] for line in lines] == ["rpc.failed"]


def test_a_traceback_is_part_of_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with captured(monkeypatch) as lines:
        try:
            raise ValueError("inside")
        except ValueError:
            logs.log("rpc.failed", level="ERROR", exc_info=True)
    assert "ValueError: inside" in lines[0]["traceback"]


def test_a_librarys_line_has_the_same_form(monkeypatch: pytest.MonkeyPatch) -> None:
    with captured(monkeypatch) as lines:
        logging.getLogger("some.library").warning("careful: %s", "hot")
        logging.getLogger("pika.connection").error("five lines about one refused attempt")
    (line,) = lines
    assert (line["action"], line["logger"], line["message"]) == ("library.message", "some.library", "careful: hot")
