"""Turn bytes into a dataset: named by its content, in place with its row, described if possible.

Between a route and the ledger, the datasets folder, and the trainers' inspection queue.
"""

from __future__ import annotations

import hashlib
from functools import partial

import anyio.to_thread
import msgspec

from api.datasets.files import DatasetFolder
from api.datasets.formats import UNREADABLE
from api.datasets.receiving import Draft, Received
from api.keys.callers import Caller
from api.keys.making import deed
from api.ledger import rows
from api.ledger.database import now_ms
from api.state import State
from wire import errors, logs, messages, topology
from wire.deadlines import Deadline

ID_CHARS = 32
"""A dataset's id is so much of the lower-case hexadecimal SHA-256 of its bytes."""


def folder_of(state: State) -> DatasetFolder:
    """The datasets folder of this replica."""
    return DatasetFolder(state.settings.paths.datasets)


def place(state: State, received: Received, kind: rows.Kind, caller: Caller) -> rows.Dataset:
    """Put a received file in place with its row; the draft is gone afterwards. Blocks.

    Raises errors.Conflict, errors.StorageFull, errors.LedgerUnavailable.
    """
    folder = folder_of(state)
    dataset_id = received.sha256[:ID_CHARS]
    now = now_ms()
    new = rows.Dataset(
        dataset_id=dataset_id,
        kind=kind,
        size_bytes=received.size_bytes,
        sha256=received.sha256,
        created_ms=now,
        used_ms=now,
    )
    try:
        put = partial(folder.put, received.draft, dataset_id, kind)
        told = deed(caller, "dataset.stored", dataset_id)
        stored = state.ledger.datasets.place(new, owner=caller.owner, put=put, deed=told)
    finally:
        received.draft.unlink(missing_ok=True)
    logs.log("dataset.stored", dataset_id=dataset_id, size_bytes=received.size_bytes, kind=kind)
    return stored


def store_rows(state: State, lines: bytes, caller: Caller) -> rows.Dataset:
    """Store rows of a training request as a dataset of JSON lines. Blocks; raises as ``place``."""
    try:
        return state.ledger.datasets.find(hashlib.sha256(lines).hexdigest()[:ID_CHARS], owner=caller.owner)
    except errors.DatasetNotFound:
        draft = Draft(folder_of(state).draft())
    try:
        draft.write(lines)
        received = draft.finish()
    except BaseException:
        draft.drop()
        raise
    return place(state, received, "jsonl", caller)


async def describe(state: State, dataset: rows.Dataset, caller: Caller) -> rows.Dataset:
    """The dataset with its description, if a trainer makes it in time.

    Raises errors.BadInput where no trainer can read it; then it is not kept.
    """
    if dataset.profile is None and dataset.error_code is None:
        try:
            profile = await _inspect(state, dataset.dataset_id)
        except UNREADABLE as error:
            await anyio.to_thread.run_sync(_reject, state, dataset.dataset_id, caller)
            raise errors.BadInput(error.message, errors=error.errors, hint=error.hint) from error
        except errors.WarrenError as error:
            # A worker asks again later; an upload is good without a description.
            logs.log("dataset.profiled", level="WARNING", dataset_id=dataset.dataset_id, error=error.code)
            return dataset
        await anyio.to_thread.run_sync(state.ledger.datasets.describe, dataset.dataset_id, profile)
        return msgspec.structs.replace(dataset, profile=profile.encode().decode())
    return dataset


async def _inspect(state: State, dataset_id: str) -> messages.DatasetProfile:
    deadline = Deadline.after(state.settings.train.inspect_wait_s)
    if (await state.rpc.queue_state(topology.INSPECT)).consumers == 0:
        raise errors.Unroutable
    question = messages.InspectRequest(dataset_id=dataset_id)
    return await state.rpc.call(topology.INSPECT, question, messages.DatasetProfile, deadline=deadline)


def _reject(state: State, dataset_id: str, caller: Caller) -> None:
    try:
        delete(state, dataset_id, caller, owner=caller.owner)
    except (errors.DatasetInUse, errors.DatasetNotFound):
        return  # somebody uses it all the same: its job will say what is wrong


def delete(state: State, dataset_id: str, caller: Caller, *, owner: str | None) -> None:
    """Forget a dataset for an owner (None: for all), and its file when nobody has it. Blocks.

    Raises errors.DatasetNotFound, errors.DatasetInUse and errors.LedgerUnavailable.
    """
    if state.ledger.datasets.delete(dataset_id, owner=owner, deed=deed(caller, "dataset.deleted", dataset_id)):
        folder = folder_of(state)
        state.ledger.datasets.discard(dataset_id, partial(folder.remove, dataset_id))
        folder.empty_trash()
        logs.log("dataset.deleted", dataset_id=dataset_id)
