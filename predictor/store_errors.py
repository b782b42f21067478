"""From what the model volume says to the errors that travel; around every use of ``model_store`` here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from model_store import errors as store
from wire import errors, logs

_KINDS: Final[dict[type[store.StoreError], type[errors.WarrenError]]] = {
    store.BadName: errors.BadInput,
    store.NoSuchModel: errors.ModelNotFound,
    store.NoSuchVersion: errors.VersionNotFound,
    store.NoSuchAlias: errors.AliasNotFound,
    store.NoSuchFile: errors.NotFound,
    store.Corrupt: errors.ModelCorrupt,
    store.TooLarge: errors.TooLarge,
}
"""What a reader can meet, and what it is called on the wire."""

_SAYS_ITSELF = (store.BadName, store.Corrupt)


@contextmanager
def translated() -> Iterator[None]:
    """Inside, a StoreError becomes the WarrenError of the same meaning, and a failing volume InternalError."""
    try:
        yield
    except store.StoreError as error:
        kind = _KINDS.get(type(error), errors.InternalError)
        raise kind(str(error) if isinstance(error, _SAYS_ITSELF) else "") from error
    except OSError as error:
        logs.log("library.message", level="ERROR", message="the model volume failed", error=str(error))
        raise errors.InternalError("The model volume cannot be read at the moment.") from error
