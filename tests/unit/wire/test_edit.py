import pytest

from app.wire.edit import rename


def test_the_model_is_renamed_in_place():
    holder = {"id": 1, "model": "served", "x": 2}
    assert rename(holder, "public")
    assert list(holder.items()) == [("id", 1), ("model", "public"), ("x", 2)]


@pytest.mark.parametrize(
    ("holder", "model"), [({"model": "m"}, "m"), ({"model": "m"}, None), ({}, "m"), (None, "m"), ("x", "m")]
)
def test_where_nothing_must_change_nothing_does(holder, model):
    before = holder.copy() if isinstance(holder, dict) else holder
    assert not rename(holder, model)
    assert holder == before


@pytest.mark.parametrize("forged", [None, 1, ["other"]])
def test_u43_whatever_stands_there_is_replaced(forged):
    holder = {"model": forged}
    assert rename(holder, "public")
    assert holder == {"model": "public"}
