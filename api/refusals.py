"""Errors that only an HTTP edge can have; beside ``wire.errors``, raised before anything is published.

They never travel: no other process knows them, so they are not among ``wire.errors.REGISTERED``.
"""

from __future__ import annotations

from wire import errors


class RateLimited(errors.Answered):
    """This API key asks more often than it may; try again later."""

    code = "rate_limited"

    def __init__(self, wait_s: float, hint: str = "") -> None:
        """``wait_s``: seconds until the next call may pass, if nobody else uses the key."""
        super().__init__(hint=hint)
        self.wait_s = wait_s


class MethodNotAllowed(errors.Answered):
    """This path does not know this method; the Allow header names those it knows."""

    code = "method_not_allowed"

    def __init__(self, allow: str = "") -> None:
        """``allow`` is the value of the Allow header, such as ``GET, POST``."""
        super().__init__()
        self.allow = allow


class UnsupportedMedia(errors.Answered):
    """This content type or encoding is not accepted; send application/json, not compressed."""

    code = "unsupported_media_type"


class LengthRequired(errors.Answered):
    """This call needs a body; send it with a Content-Length."""

    code = "length_required"


class UriTooLong(errors.Answered):
    """The address of this request is too long."""

    code = "uri_too_long"


class RangeNotSatisfiable(errors.Answered):
    """The file has no such range."""

    code = "range_not_satisfiable"

    def __init__(self, size_bytes: int) -> None:
        """``size_bytes``: the whole file."""
        super().__init__(hint=f"It has {size_bytes} bytes.")
        self.size_bytes = size_bytes


class HeadersTooLarge(errors.Answered):
    """The headers of this request are too large."""

    code = "headers_too_large"
