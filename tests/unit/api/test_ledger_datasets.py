"""Datasets in the ledger: file and row come and go together, and a job that uses one keeps it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import pytest

from api.datasets.files import DatasetFolder
from api.ledger import Ledger, paging, rows
from api.ledger.database import now_ms
from tests.jobs import all_at_once, new_dataset, new_job
from wire import errors, messages

PROFILE = messages.DatasetProfile(
    rows=3, columns=(messages.ColumnProfile(name="a", type="number", missing=0, distinct=messages.MoreThan(1000)),)
)


def place(ledger: Ledger, dataset: rows.Dataset, owner: str = "ann") -> rows.Dataset:
    return ledger.datasets.place(dataset, owner=owner, put=lambda: None)


def test_same_bytes_from_two_owners_are_one_dataset_seen_by_both(ledger: Ledger) -> None:
    dataset = place(ledger, new_dataset())
    again = ledger.datasets.place(
        new_dataset(dataset_id=dataset.dataset_id, created_ms=9), owner="bob", put=lambda: None
    )
    assert again == msgspec.structs.replace(dataset, created_ms=9)
    for owner, created_ms in (("ann", 1), ("bob", 9), (None, 1)):
        assert ledger.datasets.find(dataset.dataset_id, owner=owner).created_ms == created_ms
        (listed,) = ledger.datasets.page(owner=owner, before=None, limit=9)[0]
        assert listed.created_ms == created_ms
    with pytest.raises(errors.DatasetNotFound):
        ledger.datasets.find(dataset.dataset_id, owner="eve")
    assert ledger.datasets.page(owner="eve", before=None, limit=9)[0] == []


def test_a_page_is_in_the_order_in_which_its_owner_stored(ledger: Ledger) -> None:
    first, second = (place(ledger, new_dataset(created_ms=at)) for at in (1, 2))
    for at, one in ((8, second), (9, first)):
        place(ledger, msgspec.structs.replace(one, created_ms=at), owner="bob")
    (newest,) = ledger.datasets.page(owner="bob", before=None, limit=1)[0]
    (oldest,) = ledger.datasets.page(owner="bob", before=(newest.created_ms, newest.dataset_id), limit=9)[0]
    assert [(newest.dataset_id, newest.created_ms), (oldest.dataset_id, oldest.created_ms)] == [
        (first.dataset_id, 9),
        (second.dataset_id, 8),
    ]


def test_same_bytes_as_another_format_are_a_conflict(ledger: Ledger) -> None:
    dataset = place(ledger, new_dataset())
    with pytest.raises(errors.Conflict):
        place(ledger, new_dataset(dataset_id=dataset.dataset_id, kind="jsonl"))


def test_file_that_cannot_be_put_leaves_no_row(ledger: Ledger) -> None:
    dataset = new_dataset()

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        ledger.datasets.place(dataset, owner="ann", put=fail)
    with pytest.raises(errors.DatasetNotFound):
        ledger.datasets.find(dataset.dataset_id, owner=None)


def test_pages_go_from_newest_to_oldest(ledger: Ledger) -> None:
    made = [place(ledger, new_dataset(created_ms=at)) for at in (1, 2, 2, 3)]
    seen: list[str] = []
    before = None
    for _ in range(4):
        (one,) = ledger.datasets.page(owner="ann", before=before, limit=1)[0]
        seen.append(one.dataset_id)
        before = (one.created_ms, one.dataset_id)
    assert ledger.datasets.page(owner="ann", before=before, limit=1)[0] == []
    assert sorted(seen) == sorted(one.dataset_id for one in made)
    assert (seen[0], seen[-1]) == (made[3].dataset_id, made[0].dataset_id)


def test_pages_end_behind_so_many_characters_of_profiles(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [place(ledger, new_dataset(created_ms=at)).dataset_id for at in range(50)]
    for dataset_id in made:
        ledger.datasets.describe(dataset_id, PROFILE)
    monkeypatch.setattr(paging, "PAGE_CHARS", len(PROFILE.encode()) * 23 + 1)
    seen, before, sizes = [], None, []
    more = True
    while more:
        page, more = ledger.datasets.page(owner="ann", before=before, limit=30)
        before = (page[-1].created_ms, page[-1].dataset_id)
        seen += [one.dataset_id for one in page]
        sizes.append(len(page))
    assert (sizes, seen) == ([24, 24, 2], made[::-1])


def test_description_is_kept_and_missing_ones_are_found(ledger: Ledger) -> None:
    described, unreadable, new = (place(ledger, new_dataset(created_ms=at)) for at in (1, 2, 3))
    ledger.datasets.describe(described.dataset_id, PROFILE)
    ledger.datasets.condemn(unreadable.dataset_id, errors.BadInput("no header").to_body())
    assert ledger.datasets.find(described.dataset_id, owner=None).columns() == PROFILE
    assert ledger.datasets.find(unreadable.dataset_id, owner=None).error_message == "no header"
    assert [one.dataset_id for one in ledger.datasets.unprofiled(9)] == [new.dataset_id]


def test_what_was_wrong_with_a_dataset_is_forgotten_when_it_is_uploaded_again(ledger: Ledger) -> None:
    dataset = place(ledger, new_dataset())
    ledger.datasets.condemn(dataset.dataset_id, errors.InternalError().to_body())
    assert place(ledger, new_dataset(dataset_id=dataset.dataset_id)).error_code is None
    assert [one.dataset_id for one in ledger.datasets.unprofiled(9)] == [dataset.dataset_id]


def test_dataset_goes_when_its_last_owner_lets_go(ledger: Ledger) -> None:
    dataset = place(ledger, new_dataset())
    place(ledger, dataset, owner="bob")
    assert not ledger.datasets.delete(dataset.dataset_id, owner="ann")
    with pytest.raises(errors.DatasetNotFound):
        ledger.datasets.delete(dataset.dataset_id, owner="ann")
    assert ledger.datasets.delete(dataset.dataset_id, owner="bob")
    assert ledger.datasets.page(owner=None, before=None, limit=9)[0] == []


def test_admin_deletes_for_all(ledger: Ledger) -> None:
    dataset = place(ledger, new_dataset())
    assert ledger.datasets.delete(dataset.dataset_id, owner=None)


def test_dataset_of_a_live_job_stays(ledger: Ledger) -> None:
    dataset = place(ledger, new_dataset())
    job = ledger.jobs.accept(new_job(dataset_id=dataset.dataset_id, owner="ann"), queued_limit=9)
    with pytest.raises(errors.DatasetInUse):
        ledger.datasets.delete(dataset.dataset_id, owner="ann")
    assert ledger.datasets.delete_unused(now_ms() + 60_000, 9) == []
    ledger.jobs.request_cancel(job.job_id, owner=None)
    assert ledger.datasets.delete(dataset.dataset_id, owner="ann")


def test_owner_lets_go_though_anothers_job_uses_the_same_bytes(ledger: Ledger) -> None:
    dataset = place(ledger, new_dataset())
    place(ledger, dataset, owner="bob")
    job = ledger.jobs.accept(new_job(dataset_id=dataset.dataset_id, owner="bob"), queued_limit=9)
    with pytest.raises(errors.DatasetInUse):
        ledger.datasets.delete(dataset.dataset_id, owner="bob")
    assert not ledger.datasets.delete(dataset.dataset_id, owner="ann")
    with pytest.raises(errors.DatasetNotFound):
        ledger.datasets.find(dataset.dataset_id, owner="ann")
    assert not ledger.datasets.discard(dataset.dataset_id, pytest.fail)
    assert ledger.datasets.delete_unused(now_ms() + 60_000, 9) == []
    ledger.jobs.request_cancel(job.job_id, owner=None)
    assert ledger.datasets.delete(dataset.dataset_id, owner="bob")


def test_bytes_that_an_admins_job_uses_stay_with_their_last_owner(ledger: Ledger) -> None:
    dataset = place(ledger, new_dataset())
    ledger.jobs.accept(new_job(dataset_id=dataset.dataset_id, owner="boss"), queued_limit=9)
    for owner in ("ann", None):
        with pytest.raises(errors.DatasetInUse):
            ledger.datasets.delete(dataset.dataset_id, owner=owner)


def test_job_and_deletion_at_the_same_moment_do_not_miss_each_other(ledger: Ledger) -> None:
    for _ in range(10):
        dataset = place(ledger, new_dataset())
        accepting = partial(ledger.jobs.accept, new_job(dataset_id=dataset.dataset_id), queued_limit=99)
        job, deleted = all_at_once(accepting, partial(ledger.datasets.delete, dataset.dataset_id, owner="ann"))
        if isinstance(job, rows.Job):
            assert isinstance(deleted, errors.DatasetInUse)
        else:
            assert isinstance(job, errors.DatasetNotFound)
            assert deleted is True


def test_upload_and_deletion_of_the_same_bytes_leave_file_and_row_or_neither(ledger: Ledger, tmp_path: Path) -> None:
    folder = DatasetFolder(tmp_path / "datasets")

    def upload(dataset: rows.Dataset) -> None:
        draft = folder.draft()
        draft.write_bytes(b"a\n1\n")
        put = partial(folder.put, draft, dataset.dataset_id, dataset.kind)
        ledger.datasets.place(dataset, owner="ann", put=put)

    def delete(dataset: rows.Dataset) -> None:
        if ledger.datasets.delete(dataset.dataset_id, owner="ann"):
            ledger.datasets.discard(dataset.dataset_id, partial(folder.remove, dataset.dataset_id))

    for _ in range(15):
        dataset = new_dataset()
        upload(dataset)
        all_at_once(partial(upload, dataset), partial(delete, dataset), partial(upload, dataset))
        kept = bool(ledger.datasets.unknown([dataset.dataset_id]) == [])
        assert (folder.root / dataset.dataset_id / "data.csv").exists() == kept


def test_unused_datasets_are_forgotten(ledger: Ledger) -> None:
    old, fresh = place(ledger, new_dataset()), place(ledger, new_dataset(used_ms=now_ms()))
    assert ledger.datasets.delete_unused(now_ms() - 60_000, 9) == [old.dataset_id]
    assert ledger.datasets.unknown([old.dataset_id, fresh.dataset_id]) == [old.dataset_id]


def test_dataset_used_again_meanwhile_stays(ledger: Ledger) -> None:
    dataset = place(ledger, new_dataset())
    place(ledger, new_dataset(dataset_id=dataset.dataset_id, used_ms=now_ms()))
    assert not ledger.datasets._delete_unused(dataset.dataset_id, 5)


def test_file_with_a_row_is_not_discarded(ledger: Ledger) -> None:
    dataset = place(ledger, new_dataset())
    assert not ledger.datasets.discard(dataset.dataset_id, pytest.fail)
