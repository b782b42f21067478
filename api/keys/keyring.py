"""The keys a replica knows, in memory: who is this request from, answered without waiting.

Between a request's headers and its caller. A look at the ledger every couple of seconds brings
what has changed; a key that is not known yet brings one at once, within a bound. So a prediction
pays two microseconds for its key, a revoked key ends everywhere within seconds, and the ledger
may be away for a while.
"""

from __future__ import annotations

import asyncio
import hmac
import random
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

import anyio.to_thread

from api.keys import minting, rates
from api.keys.callers import ANY, LOCAL, Caller, granted
from api.ledger import rows
from api.ledger.database import now_ms
from api.ledger.keys import Keys, Stamp
from wire import errors, logs, settings, telemetry

LOOK_WAIT_S: Final = 1.0
"""Seconds a request waits for the ledger to say whether its key exists."""
LOOK_PAUSE_S: Final = 0.1
"""Seconds between two looks for keys that nobody knows: guesses cost the ledger ten small queries a second."""
MAX_WAITING: Final = 100
"""Requests that may wait for such a look at once."""
MAX_ABSENT: Final = 4096
"""Prefixes remembered as nobody's."""
_UNCHECKED = "API keys can't be checked at the moment."

known = telemetry.gauge("keys_known", "Live API keys in this replica's memory")
"""As of the last look at the ledger."""
refused = telemetry.counter("keys_refused", "Calls refused for their API key", ["code"])
"""By error code."""


class UnknownKey(errors.Unauthenticated):
    """This call needs a valid API key."""


class _Entry(NamedTuple):
    digest: bytes
    expires_ms: int
    caller: Caller
    allowance: rates.Allowance | None


class Keyring:
    """The live keys. ``admit`` never waits; everything else belongs to the event loop's thread."""

    def __init__(self, config: settings.Settings, keys: Keys, migrated: asyncio.Event) -> None:
        """``migrated`` is set once the ledger has its tables."""
        self.required: Final = config.api.keys == "required"
        self._config = config.keys
        self._keys = keys
        self._migrated = migrated
        self._entries: dict[bytes, _Entry] = {}
        self._absent: set[bytes] = set()
        self._stamp: Stamp | None = None
        self._read_at = float("-inf")
        self._looked_at = float("-inf")
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow the ledger, where keys are needed."""
        if self.required:
            self._following = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        """Stop following it."""
        tasks = [task for task in (self._following, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def admit(self, headers: Mapping[bytes, bytes], scope: str = ANY) -> Caller:
        """Who sent these headers (by lower-case name), if it may do what ``scope`` says.

        Touches memory only. A call that may be made is counted where the key has a rate. Raises
        errors.Unauthenticated, errors.Forbidden, refusals.RateLimited, UnknownKey where ``ask`` may
        know more, and errors.LedgerUnavailable where what is known is too old.
        """
        if not self.required:
            return LOCAL
        given = minting.given(headers)
        now_s = time.monotonic()
        if now_s - self._read_at > self._config.stale_s:
            raise errors.LedgerUnavailable(_UNCHECKED)
        entry = self._entries.get(given.prefix)
        if entry is None:
            raise errors.Unauthenticated if given.prefix in self._absent else UnknownKey
        if not hmac.compare_digest(entry.digest, given.digest) or entry.expires_ms <= now_ms():
            raise errors.Unauthenticated
        if scope and scope not in entry.caller.scopes:
            raise errors.Forbidden(hint=f"It takes a key with the scope {scope}.")
        if entry.allowance is not None:
            entry.allowance.spend(headers, now_s)
        return entry.caller

    def lives(self, caller: Caller) -> bool:
        """Whether the key of a caller who was let in still counts: for answers that take long. Touches memory only."""
        if not self.required:
            return True
        entry = self._entries.get(caller.key.encode())
        fresh = time.monotonic() - self._read_at <= self._config.stale_s
        return fresh and entry is not None and entry.expires_ms > now_ms()

    async def ask(self, headers: Mapping[bytes, bytes], scope: str = ANY) -> Caller:
        """The same, after a look at the ledger where the key is not known yet or all is too old.

        Raises errors.Unauthenticated, errors.Forbidden, refusals.RateLimited and errors.LedgerUnavailable.
        """
        try:
            try:
                return self.admit(headers, scope)
            except (UnknownKey, errors.LedgerUnavailable):
                prefix = minting.given(headers).prefix
                await self._look()
                if prefix not in self._entries:
                    self._remember_absent(prefix)
                return self.admit(headers, scope)
        except errors.WarrenError as error:
            refused.labels(error.code).inc()
            raise

    async def refresh(self) -> None:
        """Look at the ledger now. Raises errors.LedgerUnavailable."""
        if self.required:
            async with self._turn:
                await self._read_since(time.monotonic())

    async def _look(self) -> None:
        """A look that began after this call did, shared with everybody who waits for one."""
        if self._waiting >= MAX_WAITING:
            raise errors.LedgerUnavailable("Too many unknown API keys are being looked up at the moment.")
        self._waiting += 1
        try:
            async with asyncio.timeout(LOOK_WAIT_S):
                await self._share_look(time.monotonic())
        except TimeoutError:
            raise errors.LedgerUnavailable(_UNCHECKED) from None
        finally:
            self._waiting -= 1

    async def _share_look(self, called_at: float) -> None:
        async with self._turn:
            if self._looked_at < called_at:
                await asyncio.sleep(max(0.0, self._looked_at + LOOK_PAUSE_S - time.monotonic()))
                self._looked_at = time.monotonic()
                await self._read_since(called_at)
        if self._read_at < called_at:
            raise errors.LedgerUnavailable(_UNCHECKED)

    async def _read_since(self, called_at: float) -> None:
        """Read the ledger, in one thread at a time, however slow it is. Raises errors.LedgerUnavailable."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read())
        await asyncio.wait({self._reading}, timeout=LOOK_WAIT_S)
        if self._read_at < called_at:
            raise errors.LedgerUnavailable(_UNCHECKED)

    async def _read(self) -> None:
        began_at = time.monotonic()
        try:
            await anyio.to_thread.run_sync(self._load)
        except errors.LedgerUnavailable:
            return  # the ledger's own line says so
        except Exception:
            # A defect here must not end the following: keys would then never be revoked again.
            logs.log("ledger.failed", level="ERROR", exc_info=True)
            return
        self._read_at = began_at

    def _load(self) -> None:
        """Bring the memory up to date; in a thread, so what it makes takes its place in one step."""
        stamp = self._keys.stamp()
        if stamp == self._stamp:
            return
        entries = {}
        for key in self._keys.live():
            caller = Caller(key.owner, granted(key.scopes.split()), key.prefix)
            prefix = key.prefix.encode()
            entries[prefix] = _Entry(bytes.fromhex(key.digest), key.expires_ms, caller, self._allowance(prefix, key))
        self._entries, self._absent, self._stamp = entries, set(), stamp
        known.set(len(entries))

    def _allowance(self, prefix: bytes, key: rows.Key) -> rates.Allowance | None:
        """The key's bucket as it stands, else a full one: a key that is made or revoked fills nobody's."""
        if key.rate_per_s is None:
            return None
        had = self._entries.get(prefix)
        return had.allowance if had is not None and had.allowance else rates.Allowance(key.rate_per_s)

    def _remember_absent(self, prefix: bytes) -> None:
        """A prefix that nobody has can't be made before it is tried again, but by one chance in 10¹²."""
        if len(self._absent) >= MAX_ABSENT:
            self._absent.clear()
        self._absent.add(prefix)

    async def _follow(self) -> None:
        await self._migrated.wait()
        while True:
            async with self._turn:
                try:
                    await self._read_since(time.monotonic())
                except errors.LedgerUnavailable:
                    logs.log("keys.stale", level="WARNING", seconds=round(time.monotonic() - self._read_at, 1))
            await asyncio.sleep(self._config.refresh_s * random.uniform(0.8, 1.0))  # noqa: S311 - jitter, not a secret
