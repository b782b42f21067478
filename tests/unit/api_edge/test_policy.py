"""The batching policy: a pure machine, so its promises are checked on thousands of drawn histories."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.predict.policy import SHARE, Entry, Policy, Reference
from wire import errors
from wire.settings import Predict


def reference(model: str = "m") -> Reference:
    return Reference(model, 0, "champion")


def policy(**limits: int) -> Policy[Entry]:
    return Policy(Predict(**limits))


def entry(
    model: str = "m", rows: int = 1, size_bytes: int = 10, described_bytes: int = 0, around_bytes: int = 0
) -> Entry:
    return Entry(reference(model), rows, size_bytes, size_bytes + described_bytes, size_bytes + around_bytes)


def test_an_idle_lane_sends_at_once_and_a_busy_one_waits() -> None:
    books = policy(batches_in_flight=1)
    first, second, third = entry(), entry(), entry()
    books.admit(first)
    assert books.take(reference()) == [first]
    books.admit(second)
    books.admit(third)
    assert books.take(reference()) == []
    assert books.landed(reference())
    assert books.take(reference()) == [second, third]


def test_the_backlog_is_who_waits_longest_and_all_bytes_held() -> None:
    books = policy()
    assert books.backlog(reference()) == (None, 0)
    first, gone, second = entry(), entry(), entry()
    books.admit(first)
    assert books.backlog(reference()) == (first, 10)
    assert books.take(reference()) == [first]
    assert books.backlog(reference()) == (None, 10)
    books.admit(gone)
    books.admit(second)
    books.release(gone)
    assert books.backlog(reference()) == (second, 20)


def test_as_many_batches_are_under_way_as_the_setting_says() -> None:
    books = policy(batches_in_flight=2, worth_bytes=1)
    for expected in (1, 1, 0):
        books.admit(entry())
        assert len(books.take(reference())) == expected


def test_a_second_batch_leaves_only_when_it_is_worth_a_message() -> None:
    books = policy(batches_in_flight=2, worth_bytes=100)
    books.admit(entry())
    assert len(books.take(reference())) == 1
    small, large, gone = entry(size_bytes=60), entry(size_bytes=40), entry(size_bytes=30)
    books.admit(small)
    books.admit(gone)
    assert books.take(reference()) == []
    books.release(gone)
    books.admit(large)
    assert books.take(reference()) == [small, large]
    books.admit(entry(size_bytes=1000))
    assert books.take(reference()) == [], "two are under way"
    assert books.landed(reference())
    assert len(books.take(reference())) == 1


def test_a_landing_says_whether_what_waits_is_worth_a_message() -> None:
    books = policy(batches_in_flight=2, worth_bytes=100)
    for _ in range(2):
        books.admit(entry(size_bytes=100))
        assert books.take(reference())
    books.admit(entry(size_bytes=99))
    assert not books.landed(reference()), "another one is under way, and little waits"
    assert books.landed(reference())


def test_lanes_do_not_wait_for_each_other() -> None:
    books = policy()
    books.admit(entry("busy"))
    assert books.take(reference("busy"))
    books.admit(entry("busy"))
    books.admit(entry("other"))
    assert books.take(reference("busy")) == []
    assert len(books.take(reference("other"))) == 1


def test_a_request_beyond_every_bound_of_a_batch_travels_alone() -> None:
    books = policy(batch_rows=10, batch_bytes=100)
    large, small = entry(rows=50, size_bytes=500), entry()
    books.admit(large)
    books.admit(small)
    assert books.take(reference()) == [large]


def test_what_describes_the_rows_counts_for_the_message_and_for_nothing_else() -> None:
    books = policy(batch_bytes=100, worth_bytes=50, batches_in_flight=2)
    described, small = entry(described_bytes=95), entry()
    for one in (described, small, entry()):
        books.admit(one)
    assert books.take(reference()) == [described], "the message is full"
    assert books.take(reference()) == [], "20 bytes of rows are not worth a second one"


def test_a_released_entry_is_not_sent() -> None:
    books = policy()
    gone, stays = entry(), entry()
    books.admit(gone)
    books.admit(stays)
    books.release(gone)
    books.release(gone)
    assert books.take(reference()) == [stays]
    assert books.held == 1


def test_a_lane_whose_waiting_entries_all_left_sends_nothing() -> None:
    books = policy()
    one = entry()
    books.admit(one)
    books.release(one)
    assert books.take(reference()) == []
    assert books.lanes == 0


def test_one_model_cannot_fill_the_room_and_another_finds_some() -> None:
    books = policy(waiting_requests=100)
    admitted = 0
    for _ in range(101):
        with contextlib.suppress(errors.Overloaded):
            books.admit(entry("busy"))
            admitted += 1
    assert admitted == 80
    books.admit(entry("other"))


def test_bytes_are_bounded_too() -> None:
    books = policy(waiting_bytes=1000)
    books.admit(entry(size_bytes=700))
    with pytest.raises(errors.Overloaded):
        books.admit(entry("other", size_bytes=301))
    with pytest.raises(errors.Overloaded):
        books.admit(entry(size_bytes=200))
    books.admit(entry("other", size_bytes=200))


def test_what_is_held_with_the_rows_counts_for_the_room_and_not_for_the_time() -> None:
    books = policy(waiting_bytes=1000, worth_bytes=50)
    first = entry(around_bytes=690)
    books.admit(first)
    assert (books.held_bytes, books.backlog(reference())) == (700, (first, 10))
    with pytest.raises(errors.Overloaded):
        books.admit(entry("other", around_bytes=291))
    assert books.take(reference()) == [first]
    books.admit(entry(around_bytes=40))
    assert books.take(reference()) == [], "10 bytes of rows are not worth a second message"
    books.release(first)
    assert (books.held_bytes, books.backlog(reference())[1]) == (50, 10)


def test_a_refused_first_entry_leaves_no_lane_behind() -> None:
    books = policy(waiting_bytes=10)
    with pytest.raises(errors.Overloaded):
        books.admit(entry(size_bytes=11))
    assert books.lanes == 0


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.sampled_from("abc"), st.integers(1, 30), st.integers(1, 200)),
        st.tuples(st.just("take"), st.sampled_from("abc"), st.just(0), st.just(0)),
        st.tuples(st.just("land"), st.sampled_from("abc"), st.just(0), st.just(0)),
        st.tuples(st.just("leave"), st.sampled_from("abc"), st.integers(0, 50), st.just(0)),
    ),
    max_size=120,
)


class History:
    """The books, and beside them who waits and who is under way, by model."""

    def __init__(self, limits: Predict) -> None:
        self.limits = limits
        self.books: Policy[Entry] = Policy(limits)
        self.waiting: dict[str, list[Entry]] = {name: [] for name in "abc"}
        self.flying: dict[str, list[list[Entry]]] = {name: [] for name in "abc"}

    def may_leave(self, name: str) -> bool:
        if not self.flying[name]:
            return bool(self.waiting[name])
        worth = sum(one.size_bytes for one in self.waiting[name]) >= self.limits.worth_bytes
        return worth and len(self.flying[name]) < self.limits.batches_in_flight

    def admit(self, name: str, number: int, size: int) -> None:
        books, limits = self.books, self.limits
        new = entry(name, rows=number, size_bytes=size, described_bytes=10 * number, around_bytes=5 * number)
        free = limits.waiting_requests - books.held
        try:
            books.admit(new)
        except errors.Overloaded:
            own = len(self.waiting[name]) + sum(map(len, self.flying[name]))
            assert own >= SHARE * free or books.held_bytes + new.held_bytes * (SHARE + 1) > limits.waiting_bytes / SHARE
        else:
            self.waiting[name].append(new)

    def take(self, name: str, _number: int, _size: int) -> None:
        limits, expected = self.limits, self.may_leave(name)
        batch = self.books.take(reference(name))
        assert batch == self.waiting[name][: len(batch)], "oldest first"
        assert bool(batch) == expected, "no needless wait"
        assert len(batch) <= limits.batch_requests
        assert len(batch) <= 1 or sum(one.rows for one in batch) <= limits.batch_rows
        assert len(batch) <= 1 or sum(one.message_bytes for one in batch) <= limits.batch_bytes
        if batch:
            del self.waiting[name][: len(batch)]
            self.flying[name].append(list(batch))

    def land(self, name: str, _number: int, _size: int) -> None:
        if self.flying[name]:
            done = self.flying[name].pop(0)
            assert self.books.landed(reference(name)) == self.may_leave(name)
            for one in done:
                self.books.release(one)

    def leave(self, name: str, number: int, _size: int) -> None:
        if self.waiting[name]:
            self.books.release(self.waiting[name].pop(number % len(self.waiting[name])))

    def check(self) -> None:
        everyone = [one for line in self.waiting.values() for one in line]
        everyone += [one for lane in self.flying.values() for batch in lane for one in batch]
        assert self.books.held == len(everyone) <= self.limits.waiting_requests
        assert self.books.held_bytes == sum(one.held_bytes for one in everyone) <= self.limits.waiting_bytes

    def end(self) -> None:
        for name in "abc":
            for batch in self.flying[name]:
                self.books.landed(reference(name))
                for one in batch:
                    self.books.release(one)
            for one in self.waiting[name]:
                self.books.release(one)
        assert (self.books.held, self.books.held_bytes, self.books.lanes) == (0, 0, 0)


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.integers(1, 3), st.sampled_from([1, 100, 300]))
def test_in_any_history_every_bound_holds_and_order_is_kept(
    events: list[tuple[str, str, int, int]], in_flight: int, worth_bytes: int
) -> None:
    limits = Predict(
        batches_in_flight=in_flight, worth_bytes=worth_bytes,
        batch_rows=40, batch_bytes=400, batch_requests=4, waiting_requests=20,
        waiting_bytes=2000,
    )  # fmt: skip
    history = History(limits)
    for event, name, number, size in events:
        getattr(history, event)(name, number, size)
        history.check()
    history.end()
