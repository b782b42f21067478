"""Which format an upload has: what its content type says, held against its first and last bytes."""

from __future__ import annotations

from api import refusals
from api.ledger.rows import Kind
from wire import errors

CSV_TYPES = frozenset({"text/csv", "application/csv"})
"""Content types of CSV."""
PARQUET_TYPES = frozenset({"application/vnd.apache.parquet", "application/octet-stream"})
"""Content types of Parquet."""
UNREADABLE = (errors.BadInput, errors.MalformedBody, errors.TooLarge, errors.TrainingFailed)
"""What a trainer answers where the table itself is at fault; whatever else it says may pass."""
_PARQUET = b"PAR1"
_NOT_CSV = {
    b"PAR1": "Parquet: send it as application/vnd.apache.parquet",
    b"PK\x03\x04": "a spreadsheet or a zip archive: save the table as CSV",
    b"\x1f\x8b": "compressed: send it unpacked",
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
}
_HINT = "Send CSV as text/csv, or Parquet as application/vnd.apache.parquet."


def declared(content_type: str, content_encoding: str) -> Kind:
    """The format a request announces. Raises refusals.UnsupportedMedia."""
    media = content_type.partition(";")[0].strip().lower()
    if content_encoding.strip().lower() not in ("", "identity"):
        raise refusals.UnsupportedMedia("The body is compressed; send it as it is.", hint=_HINT)
    if media in CSV_TYPES:
        return "csv"
    if media in PARQUET_TYPES:
        return "parquet"
    raise refusals.UnsupportedMedia("This content type is no dataset.", hint=_HINT)


def check(kind: Kind, head: bytes, tail: bytes) -> None:
    """Whether the bytes look like the format. Raises errors.BadInput and refusals.UnsupportedMedia."""
    if not head:
        raise errors.BadInput("The dataset is empty.")
    if kind == "parquet" and not (head.startswith(_PARQUET) and tail.endswith(_PARQUET)):
        raise refusals.UnsupportedMedia("The body is not a whole Parquet file.", hint=_HINT)
    for magic, what in _NOT_CSV.items():
        if kind == "csv" and head.startswith(magic):
            raise refusals.UnsupportedMedia(f"The body is not CSV but {what}.", hint=_HINT)
