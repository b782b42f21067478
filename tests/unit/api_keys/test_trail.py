"""Entries of the audit log reach the ledger, also one that was away."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from api.keys import trail as module
from api.keys.callers import Caller
from api.keys.trail import Trail
from api.ledger import Ledger, rows
from api.ledger.audit import Audit
from tests.rabbit import eventually
from wire import errors, logs

ANN = Caller("ann", frozenset({"train"}), "abcd1234")


class Away:
    """An audit log whose database comes back when it is told to."""

    def __init__(self, audit: Audit, error: Exception) -> None:
        self._audit = audit
        self.error: Exception | None = error

    def write(self, deeds: Sequence[rows.Deed]) -> None:
        if self.error is not None:
            raise self.error
        self._audit.write(deeds)


async def test_an_entry_is_there_before_the_answer(ledger: Ledger) -> None:
    trail = Trail(ledger.audit)
    token = logs.request_id_var.set("r-1")
    await trail.record(ANN, "alias.moved", "churn/champion to 3")
    logs.request_id_var.reset(token)
    (entry,) = ledger.audit.page(before=None, limit=10)
    assert (entry.actor, entry.key_prefix, entry.action) == ("ann", "abcd1234", "alias.moved")
    assert (entry.target, entry.request_id) == ("churn/champion to 3", "r-1")
    await trail.close()


@pytest.mark.parametrize("error", [errors.LedgerUnavailable(), ValueError("a defect")])
async def test_entries_wait_for_the_ledger_and_stand_in_the_log_meanwhile(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    audit = Away(ledger.audit, error)
    trail = Trail(audit)  # type: ignore[arg-type]
    for number in range(3):
        await trail.record(ANN, "version.deleted", f"churn/{number}")
    assert trail.pending == 3
    lines = [json.loads(logs.JsonFormatter().format(record)) for record in caplog.records]
    told = [line["entry"]["target"] for line in lines if line["action"] == "audit.failed"]
    assert told == ["churn/0", "churn/1", "churn/2"]
    audit.error = None
    await eventually(lambda: not trail.pending, "all are written")
    assert [entry.target for entry in ledger.audit.page(before=None, limit=10)] == ["churn/2", "churn/1", "churn/0"]
    await trail.close()


async def test_what_waits_is_bounded_and_written_at_the_end(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Away(ledger.audit, errors.LedgerUnavailable())
    trail = Trail(audit)  # type: ignore[arg-type]
    monkeypatch.setattr(trail, "_pending", type(trail._pending)(maxlen=2))
    for number in range(4):
        await trail.record(ANN, "version.deleted", f"churn/{number}")
    assert trail.pending == 2
    audit.error = None
    await trail.close()
    assert [entry.target for entry in ledger.audit.page(before=None, limit=10)] == ["churn/3", "churn/2"]
