"""The frames that make up nearly all traffic, read and written without pika's general machinery.

Between the socket and pika: whole deliveries and publisher confirms are taken from what was
received and handed to the same callbacks with the same objects that pika would hand them;
publishes and acknowledgements are packed in one go. A delivery that has begun is kept until it is
whole; anything else is left to pika byte by byte. pika's way costs about 25 µs a frame, most of it
in looking for callbacks, and a prediction is eight frames; it copies what it has of a frame with
every piece that comes.

Layouts: AMQP 0-9-1, sections 4.2.3 (frames), 4.2.6 (content) and basic.* of the protocol's XML.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container
from functools import lru_cache
from typing import Any, Final

from pika import frame, spec
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel

_FRAME: Final = struct.Struct(">BHI")
_METHOD: Final = struct.Struct(">BHII")
_CONFIRM: Final = struct.Struct(">QB")
_CONTENT: Final = struct.Struct(">HxxQ")
_ACK: Final = struct.Struct(">BHIIQBB")
_ACK_BYTES: Final = 13
_HEAD: Final = 7
"""Bytes of a frame before its payload; one more follows it."""
_END: Final = spec.FRAME_END
_END_BYTE: Final = bytes([spec.FRAME_END])


class ExpressChannel(Channel):
    """pika's channel, which packs what it sends most by itself."""

    on_confirm: Callable[[Any], None] | None = None
    """Told about every confirm, once they are switched on."""

    def confirm_delivery(self, ack_nack_callback: Any, callback: Any = None) -> None:
        """Switch confirms on, as pika does."""
        super().confirm_delivery(ack_nack_callback, callback)
        self.on_confirm = ack_nack_callback

    def basic_publish(
        self, exchange: str, routing_key: str, body: bytes, properties: Any = None, mandatory: bool = False
    ) -> None:
        """Write one message, as pika does."""
        self._raise_if_not_open()
        number = self.channel_number
        fields = b"".join((properties or spec.BasicProperties()).encode())
        pieces: list[bytes | memoryview] = [
            _publish(number, exchange, routing_key, mandatory),
            _FRAME.pack(spec.FRAME_HEADER, number, _CONTENT.size + len(fields))
            + _CONTENT.pack(spec.BasicProperties.INDEX, len(body))
            + fields
            + _END_BYTE,
        ]
        longest = self.connection._body_max_length
        view = memoryview(body)
        for start in range(0, len(body), longest):
            part = view[start : start + longest]
            pieces += (_FRAME.pack(spec.FRAME_BODY, number, len(part)), part, _END_BYTE)
        self.connection._output_marshaled_frames([b"".join(pieces)])

    def basic_ack(self, delivery_tag: int = 0, multiple: bool = False) -> None:
        """Acknowledge, as pika does."""
        self._raise_if_not_open()
        number = self.channel_number
        packed = _ACK.pack(
            spec.FRAME_METHOD, number, _ACK_BYTES, spec.Basic.Ack.INDEX, delivery_tag, multiple, spec.FRAME_END
        )
        self.connection._output_marshaled_frames([packed])


@lru_cache(maxsize=1024)
def _publish(number: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:
    """The method frame of a publish: always the same few."""
    marshaled: bytes = frame.Method(
        number, spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    ).marshal()
    return marshaled


class ExpressConnection(AsyncioConnection):
    """pika's connection, which takes whole deliveries and confirms off the socket's bytes by itself."""

    _begun: list[bytes] | None = None
    """What came of a delivery whose end is still on its way."""
    _missing_bytes = 0
    _begun_bytes = 0

    def _create_channel(self, channel_number: int, on_open_callback: Any) -> Channel:
        return ExpressChannel(self, channel_number, on_open_callback)

    def _on_data_available(self, data_in: bytes) -> None:
        if self._begun is not None:
            self._begun.append(data_in)
            self._missing_bytes -= len(data_in)
            if self._missing_bytes > 0:
                self._seen(len(data_in))
                return
            data_in, self._begun = b"".join(self._begun), None
            self._seen(-self._begun_bytes)
        if not self._frame_buffer:
            taken = self._take(data_in)
            if taken == len(data_in):
                return
            data_in = data_in[taken:]
            self._missing_bytes = _missing(data_in, self._body_max_length, self._channels)
            if self._missing_bytes > 0:
                self._begun = [data_in]
                self._seen(len(data_in))
                return
        super()._on_data_available(data_in)

    def _seen(self, size_bytes: int) -> None:
        """A long delivery is a sign of life before it is whole; then it is counted as all others are."""
        self._begun_bytes += size_bytes
        self.bytes_received += size_bytes

    def _take(self, data: bytes) -> int:
        """Hand on what ``data`` begins with, as long as it is whole and known; how many bytes that was."""
        at, size = 0, len(data)
        while size - at > _HEAD + 4:
            kind, number, length, index = _METHOD.unpack_from(data, at)
            end = at + _HEAD + length + 1
            channel = self._channels.get(number)
            if kind != spec.FRAME_METHOD or end > size or data[end - 1] != _END or channel is None:
                break
            confirmed = getattr(channel, "on_confirm", None)
            if index == spec.Basic.Deliver.INDEX:
                taken = self._deliver(channel, data, at, end)
            elif index == spec.Basic.Ack.INDEX and confirmed is not None:
                taken = end
                tag, multiple = _CONFIRM.unpack_from(data, at + _HEAD + 4)
                self._count(end - at, 1)
                confirmed(frame.Method(number, spec.Basic.Ack(tag, bool(multiple & 1))))
            else:
                break
            if taken == at:
                break
            at = taken
        return at

    def _deliver(self, channel: Channel, data: bytes, at: int, end: int) -> int:
        """Hand on a delivery whose method frame lies from ``at`` to ``end``; where it ends, or ``at`` if not."""
        read = _content(data, end, channel.channel_number)
        if read is None:
            return at
        properties, body, after, frames = read
        method = spec.Basic.Deliver().decode(data, at + _HEAD + 4)
        consumer = channel._consumers.get(method.consumer_tag)
        if consumer is None or method.consumer_tag in channel._cancelled:
            return at
        self._count(after - at, frames + 1)
        consumer(channel, method, properties, body)
        return after

    def _count(self, size_bytes: int, frames: int) -> None:
        """Keep what the heartbeats go by."""
        self.bytes_received += size_bytes
        self.frames_received += frames


def _content(data: bytes, at: int, number: int) -> tuple[spec.BasicProperties, bytes, int, int] | None:
    """The content that begins at ``at``: properties, body, where it ends, frames; None if it is not whole."""
    end = _whole(data, at, spec.FRAME_HEADER, number)
    if not end:
        return None
    _, left = _CONTENT.unpack_from(data, at + _HEAD)
    begin, frames = at + _HEAD + _CONTENT.size, 1
    view, parts = memoryview(data), list[memoryview]()
    while left > 0:
        at, end = end, _whole(data, end, spec.FRAME_BODY, number)
        if not end:
            return None
        parts.append(view[at + _HEAD : end - 1])
        left -= len(parts[-1])
        frames += 1
    if left:
        return None
    return spec.BasicProperties().decode(data, begin), b"".join(parts), end, frames


def _missing(data: bytes, longest: int, channels: Container[int]) -> int:
    """How many bytes of the delivery that ``data`` begins with have not come; 0 where it is none, or pika's to see.

    ``longest``: bytes of a body frame. If the broker cuts bodies shorter it is a few bytes more; then
    the delivery is looked at too early, and goes to pika.
    """
    if len(data) < _METHOD.size:
        return 0
    kind, number, length, index = _METHOD.unpack_from(data)
    if kind != spec.FRAME_METHOD or index != spec.Basic.Deliver.INDEX or number not in channels:
        return 0
    at: int = _HEAD + length + 1
    if len(data) < at + _HEAD + _CONTENT.size:
        return at + _HEAD + _CONTENT.size - len(data)
    kind, _, length = _FRAME.unpack_from(data, at)
    if kind != spec.FRAME_HEADER:
        return 0
    _, size_bytes = _CONTENT.unpack_from(data, at + _HEAD)
    frames = -(-size_bytes // longest)
    whole: int = at + _HEAD + length + 1 + size_bytes + frames * (_HEAD + 1)
    return max(0, whole - len(data))


def _whole(data: bytes, at: int, kind: int, number: int) -> int:
    """Where the frame at ``at`` ends if it is all there, of this kind and channel; else 0."""
    if len(data) - at <= _HEAD:
        return 0
    found, channel, length = _FRAME.unpack_from(data, at)
    end = at + _HEAD + length + 1
    whole: bool = found == kind and channel == number and end <= len(data) and data[end - 1] == _END
    return end if whole else 0
