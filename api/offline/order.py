"""What POST /batch-predictions takes, and what its job remembers of it.

Between the request's body and the job. The version is resolved here, once, with its columns and classes,
so that every attempt of the job answers by the same version, whatever becomes of an alias meanwhile.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec

from api import names, training
from api.ledger import rows
from wire import errors, messages

KIND = "predict"
"""The kind of an offline prediction's job."""

PREDICTION, PROBABILITY, ERROR = "prediction", "probability_", "error"
"""The output's own columns; the second is how the names of the probability columns begin."""

EXAMPLE = {"model": "flowers", "dataset": {"id": "9f86d081884c7d659a2feaa0c55ad015"}, "version": "champion"}
"""A body to try."""

_LISTED = 12


class UploadChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which data: the ``id`` of an upload."""

    id: training.DatasetId


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An offline prediction: whose rows, by which version, and what the output holds besides the answers.

    ``version`` is a number or an alias (champion where absent). ``columns`` are input columns that the
    output repeats: names, or ``all``.
    """

    model: names.Name
    dataset: UploadChoice
    version: names.VersionNumber | names.Name | None = None
    probabilities: bool = False
    columns: Literal["all"] | Annotated[tuple[training.ColumnName, ...], msgspec.Meta(max_length=1_000)] = ()


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a job remembers: the version by number, its schema and classes as its manifest has them."""

    model: str
    version: int
    dataset_id: str
    features: Any
    classes: list[Any] | None = None
    probabilities: bool = False
    carried: tuple[str, ...] = ()
    carry_all: bool = False
    submitted_at: str = ""

    def encode(self) -> str:
        """The text for the ledger."""
        return msgspec.json.encode(self).decode()

    def columns(self, carried: tuple[messages.OutputColumn, ...]) -> tuple[messages.OutputColumn, ...]:
        """The columns of the output, in order; ``carried`` are those of the input."""
        own = [messages.OutputColumn(PREDICTION, _type_of(self.classes))]
        if self.probabilities:
            own += [messages.OutputColumn(PROBABILITY + class_text(one), "number") for one in self.classes or ()]
        return (*carried, *own, messages.OutputColumn(ERROR, "text"))


def decode(text: str) -> Order:
    """Read what ``Order.encode`` wrote. Raises errors.InternalError."""
    try:
        return msgspec.json.decode(text, type=Order)
    except msgspec.DecodeError as error:
        raise errors.InternalError("a job whose order cannot be read") from error


def digest(body: BatchBody) -> str:
    """The hash of what a body means: spaces and the order of keys do not count."""
    return hashlib.sha256(b"batch" + msgspec.json.encode(body, order="sorted")).hexdigest()


def class_text(one: Any) -> str:
    """A class as it is written in CSV and in the names of columns."""
    return one if isinstance(one, str) else msgspec.json.encode(one).decode()


def alias_of(body: BatchBody) -> str:
    """The alias to resolve, where the body names no number."""
    return body.version if isinstance(body.version, str) else "champion"


def version_of(body: BatchBody, detail: messages.ModelDetail) -> int:
    """The number an alias names now. Raises errors.AliasNotFound."""
    alias = alias_of(body)
    for one in detail.aliases:
        if one.alias == alias:
            return one.version
    raise errors.AliasNotFound


def order_of(body: BatchBody, detail: messages.VersionDetail, submitted_at: str) -> Order:
    """The order for a version, checked against what it can do. Raises errors.BadInput."""
    classes = detail.manifest.get("classes")
    if body.probabilities and classes is None:
        training.refuse([errors.FieldError("probabilities", "must be false: a regression has none")])
    every = body.columns == "all"
    order = Order(
        model=body.model,
        version=detail.version,
        dataset_id=body.dataset.id,
        features=detail.manifest.get("features"),
        classes=classes,
        probabilities=body.probabilities,
        carried=() if isinstance(body.columns, str) else tuple(dict.fromkeys(body.columns)),
        carry_all=every,
        submitted_at=submitted_at,
    )
    taken = {column.name for column in order.columns(())}
    training.refuse(
        [
            errors.FieldError(f"columns[{at}]", "has the name of a column of the output")
            for at, name in enumerate(order.carried)
            if name in taken or name.startswith(PROBABILITY)
        ]
    )
    return order


def check_dataset(order: Order, dataset: rows.Dataset) -> None:
    """What is known of the dataset, held against the order. Raises errors.BadInput."""
    if dataset.error_code is not None:
        training.refuse([errors.FieldError("dataset.id", f"can't be read: {dataset.error_message}")])
    profile = dataset.columns()
    if profile is None:
        return
    known = {column.name for column in profile.columns}
    lacking = [name for name in schema_names(order.features) if name not in known]
    if lacking:
        rest = f" and {len(lacking) - _LISTED} more" if len(lacking) > _LISTED else ""
        problem = f"lacks columns of the model: {', '.join(lacking[:_LISTED])}{rest}"
        training.refuse([errors.FieldError("dataset.id", problem)])
    training.refuse(
        [
            errors.FieldError(f"columns[{at}]", "is not a column of the dataset")
            for at, name in enumerate(order.carried)
            if name not in known
        ]
    )


def schema_names(features: Any) -> list[str]:
    """The names of a version's columns, by its manifest. Raises errors.InternalError."""
    try:
        return [str(column["name"]) for column in features["columns"]]
    except (TypeError, KeyError) as error:
        raise errors.InternalError("a manifest without columns") from error


def _type_of(classes: list[Any] | None) -> messages.OutputType:
    """The type of the answers: of a regression numbers, else what all classes are."""
    if classes is None:
        return "number"
    kinds = set(map(type, classes))
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "integer" if all(abs(one) < 2**63 for one in classes) else "text"
    return "number" if kinds <= {int, float} else "text"
