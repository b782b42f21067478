"""Whom the keyring lets in, and what it costs the ledger."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from api.keys import keyring as module
from api.keys import making, minting
from api.keys.callers import LOCAL, SCOPES
from api.keys.keyring import Keyring, UnknownKey
from api.ledger import Ledger
from tests.rabbit import eventually
from tests.unit.api_keys.conftest import MakeKey, raw
from wire import errors, settings


def test_a_key_has_a_public_prefix_and_32_random_bytes() -> None:
    made = [minting.mint() for _ in range(200)]
    assert len({one.text for one in made}) == len({one.prefix for one in made}) == 200
    for one in made:
        _, prefix, secret = one.text.split("_", 2)
        assert (prefix, len(secret)) == (one.prefix, 43)
        assert minting.given(raw(one.text)) == (prefix.encode(), bytes.fromhex(one.digest))
        assert secret not in one.digest


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer "},
        {b"authorization": b"Basic d2s6d2s="},
        {b"authorization": b"Bearer " + b"x" * 10_000},
        {b"authorization": b"Bearer wk_\xff\xff\xff\xff\xff\xff\xff\xff_" + b"a" * 43},
        {b"authorization": b"Bearer wk_aaaaaaaa_" + b"a" * 42},
        {b"authorization": b"Bearer wk_aaaaaaaa_" + b"a" * 44},
        {b"authorization": b"Bearer wk_aaaaaaaa_" + b"a" * 42 + b"\x00"},
        {b"authorization": b"Bearer wk_AAAAAAAA_" + b"a" * 43},
        {b"authorization": b"Bearer WK_aaaaaaaa_" + b"a" * 43},
        {b"authorization": b"Bearer wk_aaaaaaaa-" + b"a" * 43},
        {b"x-api-key": b"Bearer wk_aaaaaaaa_" + b"a" * 43},
        {b"x-api-key": b"wk_aaaaaaaa_" + b"a" * 43 + b"\n"},
        {b"cookie": b"key=wk_aaaaaaaa_" + b"a" * 43},
    ],
)
def test_what_is_no_key_is_refused_without_a_look(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(errors.Unauthenticated) as refused:
        minting.given(headers)
    assert "wk_" not in refused.value.message


async def test_without_keys_everybody_is_local_and_the_ledger_is_never_asked() -> None:
    keyring = Keyring(settings.Settings(), None, asyncio.Event())  # type: ignore[arg-type]
    await keyring.start()
    await keyring.refresh()
    assert keyring.admit({}, "admin") is LOCAL
    assert await keyring.ask({}, "admin") is LOCAL
    await keyring.close()


async def test_a_key_works_in_either_header_and_names_its_owner(keyring: Keyring, make_key: MakeKey) -> None:
    key = make_key("ann", "predict")
    caller = await keyring.ask(raw(key), "predict")
    assert (caller.owner, caller.scopes, caller.key) == ("ann", {"predict"}, key.split("_")[1])
    assert keyring.admit({b"x-api-key": key.encode()}) == caller
    assert keyring.admit({b"authorization": b"bEARER  " + key.encode()}) == caller
    assert keyring.admit({b"authorization": b"Basic abc", b"x-api-key": key.encode()}) == caller


async def test_an_admin_key_may_do_everything(keyring: Keyring, make_key: MakeKey) -> None:
    caller = await keyring.ask(raw(make_key("boss", "admin")), "predict")
    assert (caller.scopes, caller.sees) == (SCOPES, None)


@pytest.mark.parametrize(("owned", "asked"), [("predict", "train"), ("predict", "admin"), ("train", "admin")])
async def test_a_key_without_the_scope_is_forbidden(
    keyring: Keyring, make_key: MakeKey, owned: str, asked: str
) -> None:
    key = raw(make_key("ann", owned))
    await keyring.ask(key, owned)
    with pytest.raises(errors.Forbidden):
        keyring.admit(key, asked)
    assert keyring.admit(key).owner == "ann"


async def test_a_key_must_be_whole_and_its_own(keyring: Keyring, make_key: MakeKey) -> None:
    key, other = make_key("ann"), make_key("bob")
    await keyring.ask(raw(key))
    _, prefix, secret = key.split("_", 2)
    _, other_prefix, other_secret = other.split("_", 2)
    last = "A" if secret[-1] != "A" else "B"
    for attack in (
        f"wk_{prefix}_{other_secret}",
        f"wk_{other_prefix}_{secret}",
        f"wk_{prefix}_{secret[:-1]}{last}",
        f"wk_{prefix}_{secret[:-1]}",
        f"wk_{prefix}_{secret}=",
        f"wk_{prefix}_{secret.swapcase()}",
        f"wk_{prefix.upper()}_{secret}",
        key[3:],
        f"{key} {key}",
    ):
        with pytest.raises(errors.Unauthenticated) as refused:
            await keyring.ask(raw(attack))
        assert secret not in str(refused.value)


async def test_an_expired_key_is_refused(keyring: Keyring, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch) -> None:
    key = raw(make_key("ann", days=1))
    await keyring.ask(key)
    later_ms = module.now_ms() + 86_400_001
    monkeypatch.setattr(module, "now_ms", lambda: later_ms)
    with pytest.raises(errors.Unauthenticated):
        keyring.admit(key)


async def test_a_revoked_key_is_refused_after_the_next_look(
    keyring: Keyring, ledger: Ledger, make_key: MakeKey
) -> None:
    key = make_key("ann")
    await keyring.ask(raw(key))
    making.revoke(ledger, key.split("_")[1], LOCAL)
    assert keyring.admit(raw(key)).owner == "ann"
    await keyring.refresh()
    with pytest.raises(errors.Unauthenticated):
        await keyring.ask(raw(key))


async def test_changes_arrive_by_themselves_within_seconds(
    config: settings.Settings, ledger: Ledger, make_key: MakeKey
) -> None:
    quick = config.model_copy(update={"keys": settings.Keys(refresh_s=0.05)})
    migrated = asyncio.Event()
    keyring = Keyring(quick, ledger.keys, migrated)
    await keyring.start()
    key = make_key("ann")
    with pytest.raises(errors.LedgerUnavailable):
        keyring.admit(raw(key))
    migrated.set()
    await eventually(lambda: key.split("_")[1].encode() in keyring._entries, "the key is known")
    making.revoke(ledger, key.split("_")[1], LOCAL)
    await eventually(lambda: not keyring._entries, "the key is revoked")
    await keyring.close()


class CountingKeys:
    """The ledger's keys, and how often they were asked."""

    def __init__(self, ledger: Ledger) -> None:
        self._keys = ledger.keys
        self.asked = 0
        self.away = False

    def stamp(self) -> Any:
        self.asked += 1
        if self.away:
            raise errors.LedgerUnavailable
        return self._keys.stamp()

    def live(self) -> Any:
        return self._keys.live()


async def test_guesses_cost_the_ledger_a_few_looks_and_nobody_a_wait_twice(
    config: settings.Settings, ledger: Ledger
) -> None:
    keys = CountingKeys(ledger)
    keyring = Keyring(config, keys, asyncio.Event())  # type: ignore[arg-type]
    await keyring.refresh()
    guesses = [raw(minting.mint().text) for _ in range(300)]
    began_at = time.monotonic()
    refused = await asyncio.gather(*(keyring.ask(guess) for guess in guesses), return_exceptions=True)
    spent_s = time.monotonic() - began_at
    kinds = [type(error) for error in refused]
    assert kinds.count(errors.Unauthenticated) == module.MAX_WAITING
    assert kinds.count(errors.LedgerUnavailable) == 300 - module.MAX_WAITING
    assert keys.asked <= 3 + spent_s / module.LOOK_PAUSE_S
    asked = keys.asked
    for guess in guesses[: module.MAX_WAITING]:
        with pytest.raises(errors.Unauthenticated):
            await keyring.ask(guess)
    assert keys.asked == asked
    await keyring.close()


async def test_what_is_remembered_of_guesses_has_a_bound(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ABSENT", 3)
    monkeypatch.setattr(module, "LOOK_PAUSE_S", 0.0)
    for _ in range(10):
        with pytest.raises(errors.Unauthenticated):
            await keyring.ask(raw(minting.mint().text))
        assert len(keyring._absent) <= 3


async def test_known_keys_work_for_a_while_without_the_ledger_and_unknown_ones_get_503(
    config: settings.Settings, ledger: Ledger, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, unknown = raw(make_key("ann")), raw(minting.mint().text)
    keys = CountingKeys(ledger)
    keyring = Keyring(config, keys, asyncio.Event())  # type: ignore[arg-type]
    await keyring.refresh()
    keys.away = True
    with pytest.raises(errors.LedgerUnavailable):
        await keyring.ask(unknown)
    with pytest.raises(errors.LedgerUnavailable):
        await keyring.refresh()
    caller = keyring.admit(known)
    assert (caller.owner, keyring.lives(caller)) == ("ann", True)
    later = time.monotonic() + config.keys.stale_s + 1
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    with pytest.raises(errors.LedgerUnavailable):
        keyring.admit(known)
    assert not keyring.lives(caller)
    monkeypatch.undo()
    await keyring.close()


async def test_a_defect_in_a_look_does_not_end_the_following(
    config: settings.Settings, ledger: Ledger, make_key: MakeKey
) -> None:
    class Broken(CountingKeys):
        def live(self) -> Any:
            if self.asked < 3:
                raise ValueError("a defect")
            return super().live()

    keys = Broken(ledger)
    key = make_key("ann")
    migrated = asyncio.Event()
    migrated.set()
    keyring = Keyring(config.model_copy(update={"keys": settings.Keys(refresh_s=0.01)}), keys, migrated)  # type: ignore[arg-type]
    await keyring.start()
    await eventually(lambda: key.split("_")[1].encode() in keyring._entries, "the key is known")
    await keyring.close()


async def test_a_ledger_that_hangs_holds_no_request_longer_than_a_second(
    config: settings.Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    release = threading.Event()

    class Hanging(CountingKeys):
        def stamp(self) -> Any:
            self.asked += 1
            if self.asked > 1:
                release.wait(30)
            return self._keys.stamp()

    keys = Hanging(ledger)
    keyring = Keyring(config, keys, asyncio.Event())  # type: ignore[arg-type]
    await keyring.refresh()
    monkeypatch.setattr(module, "LOOK_WAIT_S", 0.1)
    for _ in range(3):
        with pytest.raises(errors.LedgerUnavailable):
            await keyring.ask(raw(minting.mint().text))
    await eventually(lambda: keys.asked > 1, "the ledger is asked")
    assert keys.asked == 2, "one thread at a time waits for the ledger"
    release.set()
    await keyring.close()


def test_an_unknown_key_says_no_more_than_a_wrong_one() -> None:
    assert UnknownKey().to_body() == errors.Unauthenticated().to_body()
