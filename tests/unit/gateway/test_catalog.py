"""The catalog: names to models, as far as a key may use them."""

from __future__ import annotations

import pytest

from app.core.errors import InvalidRequest, ModelNotFound, NoHealthyEndpoint
from app.core.tenant import Key, Tenant
from app.gateway.catalog import Catalog, Model
from tests.fakes import KEY, FakePool, FakePools


def catalog(*names: str, default: str | None = None, **models: Model) -> Catalog:
    return Catalog(models, FakePools(*(FakePool(model=name) for name in names)), default)


def key(*models: str) -> Key:
    return Key("key_2", Tenant("tnt_2", "other", models=frozenset(models)))


def test_an_alias_leads_to_its_model():
    offer = catalog("llama", llama=Model("llama", aliases=("gpt-4o",)))
    assert offer.resolve("gpt-4o", KEY).name == "llama"
    assert offer.known("gpt-4o")
    assert not offer.known("gpt-5")


def test_a_model_learnt_from_an_endpoint_needs_no_configuration():
    assert catalog("learnt").resolve("learnt", KEY) == Model("learnt")


def test_a_served_name_wins_over_an_alias(caplog):
    offer = catalog("llama", "gpt-4o", llama=Model("llama", aliases=("gpt-4o",)))
    for _ in range(2):
        assert offer.resolve("gpt-4o", KEY).name == "gpt-4o"
    assert caplog.text.count("hidden by a served model") == 1
    assert [row["id"] for row in offer.listing(KEY)] == ["gpt-4o", "llama"]


@pytest.mark.parametrize("granted", ["llama", "gpt-4o"])
def test_a_grant_of_either_name_is_enough(granted):
    offer = catalog("llama", llama=Model("llama", aliases=("gpt-4o",)))
    assert offer.resolve("gpt-4o", key(granted)).name == "llama"


def test_a_forbidden_model_looks_like_an_unknown_one():
    offer = catalog("llama")
    with pytest.raises(ModelNotFound) as unknown:
        offer.resolve("nope", key("llama"))
    with pytest.raises(ModelNotFound) as forbidden:
        offer.resolve("llama", key("other"))
    assert unknown.value.body() == forbidden.value.body()


def test_a_model_must_be_named_unless_there_is_a_default():
    with pytest.raises(InvalidRequest):
        catalog("llama").resolve(None, KEY)
    assert catalog("llama", default="llama").resolve(None, KEY).name == "llama"


def test_while_no_endpoint_has_named_a_model_nobody_is_told_that_it_does_not_exist():
    with pytest.raises(NoHealthyEndpoint):
        catalog().resolve("llama", KEY)


def test_fallbacks_are_those_that_exist_and_are_allowed():
    model = Model("llama", fallbacks=("gone", "small", "secret"))
    offer = catalog("llama", "small", "secret", llama=model)
    assert [each.name for each in offer.fallbacks(model, key("llama", "small"))] == ["small"]


def test_the_listing_is_sorted_and_shows_aliases_with_their_root():
    offer = catalog("zeta", "llama", llama=Model("llama", aliases=("gpt-4o",)))
    rows = offer.listing(KEY)
    assert [row["id"] for row in rows] == ["gpt-4o", "llama", "zeta"]
    assert (rows[0]["root"], rows[0]["owned_by"]) == ("llama", "sluice")
    assert rows[1]["max_model_len"] == 2048
    assert [row["id"] for row in offer.listing(key("zeta"))] == ["zeta"]


def test_what_is_offered_can_be_replaced():
    offer = catalog("llama", llama=Model("llama", aliases=("old",)))
    offer.offer({"llama": Model("llama", aliases=("new",))}, "llama")
    assert offer.resolve("new", KEY).name == "llama"
    with pytest.raises(ModelNotFound):
        offer.resolve("old", KEY)


def test_a_context_length_is_what_the_endpoints_tell():
    assert catalog("m").context_length(Model("m")) == 2048
    assert catalog("m").context_length(Model("gone")) is None
