"""What a job of an offline prediction remembers, and what is refused before there is one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api.offline import order as orders
from tests.jobs import new_dataset
from wire import errors, messages

ID = "9f86d081884c7d659a2feaa0c55ad015"
FEATURES = {"columns": [{"name": "age", "type": "number"}, {"name": "city", "type": "text"}], "format": 1}


def body(**given: Any) -> orders.BatchBody:
    return msgspec.convert({"model": "m", "dataset": {"id": ID}, **given}, orders.BatchBody)


def detail(classes: list[Any] | None = None) -> messages.VersionDetail:
    manifest = {"features": FEATURES, "classes": classes}
    return messages.VersionDetail(model="m", version=7, aliases=(), manifest=manifest)


def order(classes: list[Any] | None = None, **given: Any) -> orders.Order:
    return orders.order_of(body(**given), detail(classes), "now")


def places(error: errors.WarrenError) -> list[str]:
    return [each.at for each in error.errors]


def profile(*names: str) -> str:
    columns = tuple(messages.ColumnProfile(name, "number", 0, 1) for name in names)
    return messages.DatasetProfile(rows=1, columns=columns).encode().decode()


def test_an_order_is_read_as_it_was_written() -> None:
    made = order(["no", "yes"], probabilities=True, columns=["id", "id"])
    assert orders.decode(made.encode()) == made
    assert (made.version, made.carried, made.carry_all) == (7, ("id",), False)
    assert order(columns="all").carry_all
    with pytest.raises(errors.InternalError):
        orders.decode("{}")


@pytest.mark.parametrize(
    ("classes", "kind"),
    [
        (None, "number"),
        (["a", "b"], "text"),
        ([1, 2], "integer"),
        ([1.5, 2], "number"),
        ([True, False], "boolean"),
        ([1, "a"], "text"),
        ([2**70], "text"),
    ],
)
def test_the_answers_have_the_type_of_the_classes(classes: list[Any] | None, kind: str) -> None:
    assert [column.type for column in order(classes).columns(())] == [kind, "text"]


def test_the_output_has_a_column_per_class_where_asked_for() -> None:
    made = order([True, 2, "a b"], probabilities=True)
    carried = (messages.OutputColumn("id", "text"),)
    names = [column.name for column in made.columns(carried)]
    assert names == ["id", "prediction", "probability_true", "probability_2", "probability_a b", "error"]


def test_an_alias_is_resolved_to_what_it_names_now() -> None:
    known = messages.ModelDetail(
        model="m",
        aliases=(messages.AliasSummary("champion", 3, 2, 1, ""), messages.AliasSummary("next", 4, 0, 1, "")),
        versions=(),
    )
    assert orders.version_of(body(), known) == 3
    assert orders.version_of(body(version="next"), known) == 4
    with pytest.raises(errors.AliasNotFound):
        orders.version_of(body(version="gone"), known)


def test_what_the_version_cannot_do_is_refused() -> None:
    for given, at in (
        ({"probabilities": True}, ["probabilities"]),
        ({"columns": ["id", "error", "prediction"]}, ["columns[1]", "columns[2]"]),
    ):
        with pytest.raises(errors.BadInput) as refused:
            order(**given)
        assert places(refused.value) == at


def test_a_dataset_that_cannot_be_predicted_is_refused_where_its_columns_are_known() -> None:
    orders.check_dataset(order(), new_dataset())
    orders.check_dataset(order(columns=["id"]), new_dataset(profile=profile("id", "age", "city")))
    for given, dataset, at in (
        ({}, new_dataset(profile=profile("id")), ["dataset.id"]),
        ({}, new_dataset(error_code="bad_input", error_message="no"), ["dataset.id"]),
        ({"columns": ["id"]}, new_dataset(profile=profile("age", "city")), ["columns[0]"]),
    ):
        with pytest.raises(errors.BadInput) as refused:
            orders.check_dataset(order(**given), dataset)
        assert places(refused.value) == at


def test_of_many_missing_columns_some_are_named() -> None:
    many = {"columns": [{"name": f"c{at}"} for at in range(20)]}
    asked = msgspec.structs.replace(order(), features=many)
    with pytest.raises(errors.BadInput) as refused:
        orders.check_dataset(asked, new_dataset(profile=profile("id")))
    assert refused.value.errors[0].problem.endswith("c11 and 8 more")


def test_a_manifest_without_columns_is_a_defect() -> None:
    with pytest.raises(errors.InternalError):
        orders.schema_names(None)


def test_the_digest_is_of_the_meaning() -> None:
    assert orders.digest(body()) == orders.digest(body(probabilities=False))
    assert orders.digest(body()) != orders.digest(body(version=1))
