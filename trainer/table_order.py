"""What the trainer service and the child that reads or writes a table say to each other.

In: ``order.json`` in the draft. Out: lines on standard output, which begin with what they tell of.
"""

from __future__ import annotations

from typing import Final

import msgspec

FILE: Final = "order.json"
"""The order's file in the draft."""

PROGRESS, DONE, FAILED = b"progress ", b"done ", b"failed "
"""How the lines begin that tell of progress (a ChildProgress), the end (the answer), and a failure."""


class Order(msgspec.Struct):
    """What the child is to do: the kind of the message, and the message."""

    kind: str
    message: msgspec.Raw
