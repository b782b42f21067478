"""From what the model volume says to the errors that travel; between model_store and the RPC handlers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from model_store import errors as store
from wire import errors

_KINDS: dict[type[store.StoreError], type[errors.WarrenError]] = {
    store.BadName: errors.BadInput,
    store.NoSuchModel: errors.ModelNotFound,
    store.NoSuchVersion: errors.VersionNotFound,
    store.NoSuchAlias: errors.AliasNotFound,
    store.NoSuchFile: errors.NotFound,
    store.VersionAliased: errors.VersionInUse,
    store.StaleAlias: errors.StaleChampion,
    store.TooManyAliases: errors.Conflict,
    store.Corrupt: errors.ModelCorrupt,
    store.TooLarge: errors.TrainingFailed,
    store.NoSpace: errors.StorageFull,
    store.JobTombstoned: errors.Cancelled,
    store.Contended: errors.InternalError,
}
"""Every error of the store and what it is called on the wire."""

_SAYS_ITSELF = (
    store.BadName,
    store.StaleAlias,
    store.VersionAliased,
    store.TooManyAliases,
    store.Corrupt,
    store.TooLarge,
)
_HINTS: dict[type[store.StoreError], str] = {
    store.TooManyAliases: "Delete aliases that nobody uses; their names count for an hour longer."
}


@contextmanager
def translated() -> Iterator[None]:
    """Inside, a StoreError becomes the WarrenError of the same meaning, and so does a volume without room."""
    try:
        with store.full_volume_named():
            yield
    except store.StoreError as error:
        raise to_wire(error) from error


def to_wire(error: store.StoreError) -> errors.WarrenError:
    """The error as it travels: where our own sentence says more than the default, it stays."""
    kind = _KINDS.get(type(error), errors.InternalError)
    hint = _HINTS.get(type(error), "")
    return kind(str(error) if isinstance(error, _SAYS_ITSELF) else "", hint=hint)
