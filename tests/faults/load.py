"""Predictions at a fixed rate, whatever the answers do; each latency counts from when the request was due.

A process of its own sends them (sender.py); here is what came of it, with what was sent some 20 ms ago.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol

import msgspec

from tests.faults import oracle as two_versions
from tests.faults.sender import GIVE_UP_S, Orders, Record, Told

DEADLINE_S = 2.0
"""The default deadline of a prediction; a patient stack (tuning.py) has another one."""
LATE_S = DEADLINE_S + 0.2
"""An answer may be no later than this after the request was due, however patient the stack is."""
_BEGINS_IN_S = 60.0
_NUMBERS_EACH = 100_000_000
_CHECKOUT = Path(__file__).parents[2]

_loads = itertools.count()


class Oracle(Protocol):
    """A module that says what to ask and what is wrong with an answer; see oracle.py."""

    __name__: str

    def body(self, x: int, /) -> bytes: ...
    def objection(self, x: int, request_id: str, header_id: str, content: bytes, /) -> str: ...


@dataclass
class Load:
    """``rate`` requests a second while the block lasts, as the ``oracle`` has them.

    Each names ``deadline_s`` as its deadline; with 0 the stack's own counts.
    With ``resends`` a request whose kept connection is closed without an answer goes out once more on a new one,
    as our client does it: an Nginx before 1.27.4 closes kept connections when it is reloaded, also one that a
    request is on its way to.
    """

    url: str
    rate: float = 150.0
    oracle: Oracle = two_versions
    resends: bool = False
    deadline_s: float = 0.0
    records: list[Record] = field(default_factory=list)
    sent: int = 0
    resent: int = 0
    without_when: int = 0
    """Refusals (429, 503) without ``Retry-After``."""

    def __enter__(self) -> Load:
        """Returns when the first request is on its way."""
        # A session of its own: an interrupt from the keyboard is ours, and the end of its input ends it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.sender"],
            cwd=_CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="load", daemon=True)
        self._thread.start()
        first = next(_loads) * _NUMBERS_EACH
        orders = Orders(self.url, self.rate, first, self.resends, self.oracle.__name__, round(self.deadline_s * 1000))
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(orders) + b"\n")
        self._process.stdin.flush()
        assert self._begun.wait(_BEGINS_IN_S), "the load did not begin"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._thread.join(GIVE_UP_S + 10)
        try:
            status = self._process.wait(10)
        finally:
            self._process.kill()
        # What it did not live to tell would count as right.
        whole = status == 0 and self.sent == len(self.records)
        assert error or whole, f"the load ended with {status}: {self.sent} requests, {len(self.records)} ends"

    def _listen(self) -> None:
        assert self._process.stdout is not None
        decoder = msgspec.json.Decoder(Told)
        with self._process.stdout as lines:
            for line in lines:
                told = decoder.decode(line)
                self.records += told.records
                self.sent, self.resent, self.without_when = told.sent, told.resent, told.without_when
                self._begun.set()

    # ------------------------------------------------------------------ what came of it

    @property
    def failed(self) -> list[Record]:
        return [one for one in self.records if one.problem]

    @property
    def wrong(self) -> list[Record]:
        """Those with a 200 that is not the answer to what was asked."""
        return [one for one in self.failed if one.status == 200]

    @property
    def late(self) -> list[Record]:
        return [one for one in self.records if one.seconds > LATE_S]

    def quantile_s(self, share: float) -> float:
        taken = sorted(one.seconds for one in self.records)
        return taken[min(len(taken) - 1, int(share * len(taken)))] if taken else 0.0

    def longest_s(self) -> float:
        return max((one.seconds for one in self.records), default=0.0)

    def figures(self) -> dict[str, float]:
        return {
            "requests": self.sent,
            "failed": len(self.failed),
            "p50_ms": round(self.quantile_s(0.5) * 1000, 1),
            "p99_ms": round(self.quantile_s(0.99) * 1000, 1),
            "p999_ms": round(self.quantile_s(0.999) * 1000, 1),
            "longest_ms": round(self.longest_s() * 1000),
        }

    def defects(self, *, may_refuse: bool = False) -> list[str]:
        """What no fault may cause: a failure (with ``may_refuse``: other than 503 and 429)."""
        bad = [one for one in self.failed if not (may_refuse and one.status in (429, 503))]
        counted = Counter(f"{one.status or 'no answer'}: {one.problem[:160]}" for one in bad)
        found = [f"{count} x {what}" for what, count in counted.most_common(8)]
        if self.without_when:
            found.append(f"{self.without_when} refusals without Retry-After")
        return found

    def slow(self) -> list[str]:
        """Answers that came later than LATE_S."""
        return (
            [f"{len(self.late)} answers later than {LATE_S} s, at most {self.longest_s():.2f} s"] if self.late else []
        )
