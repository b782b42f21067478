"""The short way of frames: the same objects to the same callbacks, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pika
import pytest
from pika import exceptions, frame, spec
from pika.callback import CallbackManager

from wire.express import ExpressChannel, ExpressConnection

LONGEST = 20
"""Bytes of a body frame here."""
PROPERTIES = pika.BasicProperties(type="k", correlation_id="c", headers={"request_id": "r", "remaining_ms": 7})


class Wire(ExpressConnection):
    """A connection without a socket; what it sends is kept."""

    def __init__(self) -> None:
        self._frame_buffer = b""
        self._channels: dict[int, Any] = {}
        self._heartbeat_checker = self._transport = None
        self.params = pika.ConnectionParameters()
        self._body_max_length = LONGEST
        self.callbacks = CallbackManager()
        self.server_capabilities = {"publisher_confirms": True, "basic.nack": True}
        self.connection_state = self.CONNECTION_OPEN
        self.bytes_received = self.frames_received = 0
        self.sent = b""

    def _output_marshaled_frames(self, marshaled_frames: Any) -> None:
        self.sent += b"".join(marshaled_frames)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def taken(wire: Wire) -> list[Any]:
    """What a consumer ``tag`` and the confirms' callback of channel 1 are told."""
    told: list[Any] = []
    made = wire._create_channel(1, lambda _channel: None)
    assert isinstance(made, ExpressChannel)
    made._set_state(made.OPEN)
    wire._channels[1] = made
    made._consumers["tag"] = lambda _channel, method, properties, body: told.append(
        (method.delivery_tag, method.redelivered, method.exchange, method.routing_key, properties, body)
    )
    made.confirm_delivery(lambda got: told.append((got.method.NAME, got.method.delivery_tag, got.method.multiple)))
    wire.sent = b""
    return told


def delivery(body: bytes, number: int = 1, tag: str = "tag") -> bytes:
    method = frame.Method(number, spec.Basic.Deliver(tag, 9, True, "exchange", "key"))
    parts = [body[at : at + LONGEST] for at in range(0, len(body), LONGEST)]
    frames = [method, frame.Header(number, len(body), PROPERTIES), *(frame.Body(number, part) for part in parts)]
    return b"".join(each.marshal() for each in frames)


def confirm(tag: int, *, multiple: bool = False, number: int = 1) -> bytes:
    marshaled: bytes = frame.Method(number, spec.Basic.Ack(tag, multiple)).marshal()
    return marshaled


def refusal(tag: int) -> bytes:
    marshaled: bytes = frame.Method(1, spec.Basic.Nack(tag)).marshal()
    return marshaled


BODIES = (b"", b"x" * LONGEST, b"y" * (3 * LONGEST + 1))
STREAM = b"".join(delivery(body) + confirm(5, multiple=bool(body)) for body in BODIES) + refusal(6) + confirm(7)


@pytest.mark.parametrize("cuts", [1, 2])
def test_every_cut_of_the_bytes_tells_the_same(wire: Wire, taken: list[Any], cuts: int) -> None:
    expected: list[Any] = []
    for body in BODIES:
        expected += [(9, True, "exchange", "key", PROPERTIES, body), ("Basic.Ack", 5, bool(body))]
    expected += [("Basic.Nack", 6, False), ("Basic.Ack", 7, False)]
    for cut in range(len(STREAM)):
        places = [0, cut, len(STREAM)] if cuts == 1 else sorted([0, cut, (cut * 7) % len(STREAM), len(STREAM)])
        taken.clear()
        wire.bytes_received = wire.frames_received = 0
        for begin, end in pairwise(places):
            wire._on_data_available(STREAM[begin:end])
        assert taken == expected, cut
        assert wire.bytes_received == len(STREAM)
        assert wire.frames_received == 16


def test_what_is_not_for_a_consumer_here_is_left_to_pika(wire: Wire, taken: list[Any]) -> None:
    wire._on_data_available(delivery(b"x", tag="another"))
    wire._on_data_available(delivery(b"x", number=2))
    wire._on_data_available(frame.Heartbeat().marshal() + confirm(1, number=2) + confirm(3))
    assert taken == [("Basic.Ack", 3, False)]
    wire._channels[1]._cancelled.add("tag")
    wire._on_data_available(delivery(b"x"))
    assert taken == [("Basic.Ack", 3, False)]
    assert wire.sent == frame.Method(1, spec.Basic.Reject(9)).marshal()


def test_a_confirm_nobody_asked_for_is_left_to_pika(wire: Wire, taken: list[Any]) -> None:
    wire._channels[1].on_confirm = None
    wire._on_data_available(confirm(1))
    assert taken == [("Basic.Ack", 1, False)]


def test_a_body_of_another_length_than_announced_is_pikas_to_refuse(wire: Wire, taken: list[Any]) -> None:
    sent = delivery(b"xyz").replace(frame.Header(1, 3, PROPERTIES).marshal(), frame.Header(1, 2, PROPERTIES).marshal())
    with pytest.raises(exceptions.BodyTooLongError):
        wire._on_data_available(sent)
    assert not taken


def test_what_is_sent_is_what_pika_sends(wire: Wire, taken: list[Any]) -> None:
    express = wire._channels[1]
    for body in BODIES:
        for properties in (PROPERTIES, None):
            wire.sent = b""
            express.basic_publish("exchange", "key", body, properties, mandatory=True)
            sent, wire.sent = wire.sent, b""
            pika.channel.Channel.basic_publish(express, "exchange", "key", body, properties, mandatory=True)
            assert sent == wire.sent
    for multiple in (False, True):
        wire.sent = b""
        express.basic_ack(77, multiple)
        sent, wire.sent = wire.sent, b""
        pika.channel.Channel.basic_ack(express, 77, multiple)
        assert sent == wire.sent


def test_a_closed_channel_sends_nothing(wire: Wire, taken: list[Any]) -> None:
    express = wire._channels[1]
    express._set_state(express.CLOSED)
    with pytest.raises(exceptions.ChannelWrongStateError):
        express.basic_publish("", "", b"")
    with pytest.raises(exceptions.ChannelWrongStateError):
        express.basic_ack(1)
    assert wire.sent == b""


@pytest.mark.parametrize("size", [1, 7, 64, 1_000])
def test_a_long_delivery_in_pieces_never_goes_through_pikas_buffer(wire: Wire, taken: list[Any], size: int) -> None:
    body = bytes(range(256)) * 8
    # What comes with less than the method's frame is pika's; here each delivery begins with all of it.
    first = frame.Method(1, spec.Basic.Deliver("tag", 9, True, "exchange", "key")).marshal()
    stream = delivery(body)
    seen = len(first)
    wire._on_data_available(first)
    for at in range(seen, len(stream), size):
        assert not wire._frame_buffer
        assert wire.bytes_received == at, "it is a sign of life before it is whole"
        assert not taken
        wire._on_data_available(stream[at : at + size])
    assert [told[-1] for told in taken] == [body]
    assert wire.bytes_received == len(stream)


def test_a_body_cut_shorter_than_agreed_arrives_all_the_same(wire: Wire, taken: list[Any]) -> None:
    wire._body_max_length = 10 * LONGEST
    stream = delivery(b"z" * (5 * LONGEST))
    for begin in range(0, len(stream), 50):
        wire._on_data_available(stream[begin : begin + 50])
    assert [told[-1] for told in taken] == [b"z" * (5 * LONGEST)]
    assert wire.bytes_received == len(stream)


def test_a_method_without_its_content_is_left_to_pika(wire: Wire, taken: list[Any]) -> None:
    begun = frame.Method(1, spec.Basic.Deliver("tag", 9, True, "exchange", "key")).marshal()
    wire._on_data_available(begun + confirm(1) + confirm(2))
    assert taken == [("Basic.Ack", 1, False), ("Basic.Ack", 2, False)]
