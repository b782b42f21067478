"""API keys and the audit log in the ledger."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text

from api.keys import making
from api.keys.callers import LOCAL
from api.ledger import Ledger, rows, upgrading
from api.ledger.database import now_ms
from api.ledger.keys import LIVE_PER_OWNER
from tests.jobs import all_at_once
from wire import errors, settings

DAY_MS = 86_400_000


def make(ledger: Ledger, owner: str = "ann", *scopes: str, days: int = 1) -> rows.Key:
    return making.create(ledger, making.Wanted(owner, frozenset(scopes or ("predict",)), days), LOCAL)[0]


def stored(ledger: Ledger, **changed: Any) -> rows.Key:
    """A key as it stands, also one that is over already."""
    values = {"prefix": "aaaaaaaa", "digest": "0" * 64, "owner": "ann", "scopes": "train", "created_ms": 1}
    deed = making.deed(LOCAL, "key.created", "aaaaaaaa")
    return ledger.keys.add(rows.Key(**(values | {"expires_ms": now_ms() + DAY_MS} | changed)), deed)


def test_a_key_is_kept_as_its_hash(ledger: Ledger) -> None:
    key, text = making.create(ledger, making.Wanted("ann", frozenset({"train", "predict"}), 3), LOCAL)
    (found,) = ledger.keys.live()
    assert found == key
    assert (found.owner, found.scopes, found.state(now_ms())) == ("ann", "predict train", "live")
    assert found.expires_ms - found.created_ms == 3 * DAY_MS
    secret = text.split("_", 2)[2]
    assert secret not in repr(found)
    assert secret not in repr(ledger.audit.page(before=None, limit=10))


def test_keys_of_before_there_were_rates_have_none(ledger_config: settings.Ledger) -> None:
    ledger = Ledger(ledger_config)
    database = ledger._database
    with database.serialised("warren.migrate") as connection:
        command.upgrade(upgrading.configuration(connection), "0002")
        values = "'aaaaaaaa', '00', 'ann', 'train', 1, 9999999999999"
        columns = "prefix, digest, owner, scopes, created_ms, expires_ms"
        connection.execute(text(f"INSERT INTO keys ({columns}) VALUES ({values})"))
    ledger.migrate()
    made, _ = making.create(ledger, making.Wanted("bob", frozenset({"train"}), 1, rate_per_s=0.25), LOCAL)
    assert {key.owner: key.rate_per_s for key in ledger.keys.live()} == {"ann": None, "bob": 0.25}
    assert made.rate_per_s == 0.25
    with database.serialised("warren.migrate") as connection:
        command.downgrade(upgrading.configuration(connection), "0002")
    ledger.close()


@pytest.mark.parametrize("rate_per_s", [0, -1, float("nan"), float("inf"), 100_001])
def test_a_rate_is_a_number_of_calls(ledger: Ledger, rate_per_s: float) -> None:
    with pytest.raises(errors.BadInput, match="calls a second"):
        making.create(ledger, making.Wanted("ann", frozenset({"train"}), 1, rate_per_s), LOCAL)


def test_an_owner_has_two_live_keys_at_most(ledger: Ledger) -> None:
    keys = [make(ledger) for _ in range(LIVE_PER_OWNER)]
    with pytest.raises(errors.Conflict):
        make(ledger)
    make(ledger, "bob")
    making.revoke(ledger, keys[0].prefix, LOCAL)
    make(ledger)


def test_an_expired_key_does_not_count(ledger: Ledger) -> None:
    for prefix in ("aaaaaaaa", "bbbbbbbb"):
        over = stored(ledger, prefix=prefix, expires_ms=now_ms() - 1)
        assert over.state(now_ms()) == "expired"
    assert ledger.keys.live() == []
    make(ledger)


def test_of_many_at_once_an_owner_gets_two(ledger: Ledger) -> None:
    outcomes = all_at_once(*[partial(make, ledger) for _ in range(6)])
    assert sum(isinstance(outcome, rows.Key) for outcome in outcomes) == LIVE_PER_OWNER
    assert sum(isinstance(outcome, errors.Conflict) for outcome in outcomes) == 6 - LIVE_PER_OWNER


def test_there_is_a_bound_on_all_keys(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.ledger.keys.MAX_LIVE", 2)
    make(ledger, "ann"), make(ledger, "bob")
    with pytest.raises(errors.Conflict):
        make(ledger, "eve")


def test_a_prefix_is_given_once(ledger: Ledger) -> None:
    stored(ledger)
    with pytest.raises(errors.Conflict):
        stored(ledger, owner="bob")


@pytest.mark.parametrize("scopes", [(), ("root",), ("predict", "everything")])
def test_a_key_has_known_scopes(ledger: Ledger, scopes: tuple[str, ...]) -> None:
    with pytest.raises(errors.BadInput):
        making.create(ledger, making.Wanted("ann", frozenset(scopes), 1), LOCAL)


def test_a_key_is_revoked_once_and_an_unknown_one_is_not_found(ledger: Ledger) -> None:
    key = make(ledger)
    assert making.revoke(ledger, key.prefix, LOCAL)
    assert not making.revoke(ledger, key.prefix, LOCAL)
    for unknown in ("zzzzzzzz", "' OR 1=1 --", ""):
        with pytest.raises(errors.NotFound):
            making.revoke(ledger, unknown, LOCAL)
    assert ledger.keys.page(before=None, limit=1)[0].state(now_ms()) == "revoked"
    assert [deed.action for deed in ledger.audit.page(before=None, limit=10)] == ["key.revoked", "key.created"]


def test_the_stamp_changes_with_every_change(ledger: Ledger) -> None:
    stamps = [ledger.keys.stamp()]
    first = make(ledger)
    stamps.append(ledger.keys.stamp())
    second = make(ledger)
    stamps.append(ledger.keys.stamp())
    making.revoke(ledger, first.prefix, LOCAL)
    stamps.append(ledger.keys.stamp())
    ledger.keys.forget(before_ms=now_ms() + 1, limit=10)
    stamps.append(ledger.keys.stamp())
    making.revoke(ledger, second.prefix, LOCAL)
    stamps.append(ledger.keys.stamp())
    ledger.keys.forget(before_ms=now_ms() + 1, limit=10)
    make(ledger)
    stamps.append(ledger.keys.stamp())
    assert len(set(stamps)) == len(stamps)


def test_keys_and_entries_are_read_by_pages_newest_first(ledger: Ledger) -> None:
    made = [make(ledger, owner) for owner in ("ann", "bob", "eve")]
    first = ledger.keys.page(before=None, limit=2)
    assert [key.prefix for key in first] == [made[2].prefix, made[1].prefix]
    assert [key.prefix for key in ledger.keys.page(before=first[-1].number, limit=2)] == [made[0].prefix]
    newest = ledger.audit.page(before=None, limit=2)
    assert newest[0].target == f"{made[2].prefix} eve predict"
    assert len(ledger.audit.page(before=newest[-1].number, limit=2)) == 1


def test_what_ended_long_ago_is_forgotten_and_what_lives_is_not(ledger: Ledger) -> None:
    stored(ledger, expires_ms=10)
    revoked, live = make(ledger), make(ledger)
    making.revoke(ledger, revoked.prefix, LOCAL)
    assert ledger.keys.forget(before_ms=now_ms() - DAY_MS, limit=10) == 1
    assert ledger.keys.forget(before_ms=now_ms() + 1, limit=10) == 1
    assert [key.prefix for key in ledger.keys.page(before=None, limit=10)] == [live.prefix]
    entries = len(ledger.audit.page(before=None, limit=10))
    assert ledger.audit.forget(before_ms=now_ms() - DAY_MS, limit=10) == 0
    assert ledger.audit.forget(before_ms=now_ms() + 1, limit=1) == 1
    assert ledger.audit.forget(before_ms=now_ms() + 1, limit=10) == entries - 1
    ledger.audit.write([])
