from __future__ import annotations

import json

import pytest

from app.core.failures import EndpointRefused, ModelMissing
from app.upstream.catalogue import Catalogue, ModelCard, merged, parse_models

RECORDED = {
    "object": "list",
    "data": [
        {
            "id": "tiny",
            "object": "model",
            "created": 1795164666,
            "owned_by": "vllm",
            "root": "/models/tiny",
            "parent": None,
            "max_model_len": 2048,
            "permission": [{"id": "modelperm-1", "object": "model_permission"}],
        }
    ],
}


def test_a_recorded_list_is_read():
    card = parse_models(json.dumps(RECORDED).encode())["tiny"]
    assert card == {
        "created": 1795164666,
        "owned_by": "vllm",
        "root": "/models/tiny",
        "parent": None,
        "max_model_len": 2048,
    }


def test_a_bare_list_is_read():
    card = parse_models(b'{"data":[{"id":"x","created":"soon","max_model_len":null}]}')["x"]
    assert card == {"created": 0, "owned_by": "vllm", "root": "x", "parent": None}


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b'{"data":5}', b'{"data":[{"id":5}]}', b"\xff", b'{"data":' + b"[" * 20_000],
)
def test_anything_else_is_no_list(body: bytes):
    with pytest.raises(ValueError, match="not a list"):
        parse_models(body)


def test_the_oldest_card_stands_for_all_with_the_shortest_context():
    cards = [
        ModelCard(created=9, root="new", max_model_len=4096),
        ModelCard(created=5, root="old", max_model_len=8192),
        ModelCard(created=0, root="odd"),
    ]
    assert merged(cards) == {"created": 5, "root": "old", "max_model_len": 4096}
    assert merged([ModelCard(root="odd")]) == {"root": "odd"}
    assert merged([]) == {}


def test_fixed_models_are_known_at_once():
    catalogue = Catalogue({"public": "served"})
    assert catalogue.known
    assert catalogue.names() == {"public"}
    assert catalogue.served("public") == "served"
    assert catalogue.served("other") == "other"
    assert catalogue.card("public") is None


def test_fixed_models_have_the_card_of_what_they_are_served_as():
    catalogue = Catalogue({"public": "tiny"})
    assert catalogue.learn(parse_models(json.dumps(RECORDED).encode()), 1.0)
    assert catalogue.names() == {"public"}
    assert catalogue.card("public")["max_model_len"] == 2048


def test_models_are_learnt_and_forgotten_with_the_list():
    catalogue = Catalogue(None)
    assert not catalogue.known
    assert catalogue.learn({"a": ModelCard(created=1), "b": ModelCard(created=1)}, 1.0)
    assert catalogue.known
    assert catalogue.names() == {"a", "b"}
    assert catalogue.served("a") == "a"
    assert not catalogue.learn({"a": ModelCard(created=2), "b": ModelCard(created=2)}, 2.0)
    assert catalogue.learn({"b": ModelCard(created=3)}, 3.0)
    assert catalogue.names() == {"b"}


def test_another_context_length_is_news():
    catalogue = Catalogue(None)
    catalogue.learn({"a": ModelCard(created=1, max_model_len=2048)}, 1.0)
    assert catalogue.learn({"a": ModelCard(created=2, max_model_len=4096)}, 2.0)


def test_the_age_of_a_model_is_the_first_one_told():
    catalogue = Catalogue(None)
    catalogue.learn({"a": ModelCard(created=1)}, 1.0)
    catalogue.learn({"a": ModelCard(created=2)}, 2.0)
    assert catalogue.card("a")["created"] == 1


def test_an_empty_list_is_known_too():
    catalogue = Catalogue(None)
    assert catalogue.learn({}, 1.0)
    assert catalogue.known
    assert catalogue.names() == frozenset()


def test_a_marked_model_is_back_when_it_is_listed_after_the_mark():
    catalogue = Catalogue(None)
    catalogue.learn({"a": ModelCard(created=1)}, 1.0)
    catalogue.mark("a", ModelMissing(), 5.0)
    assert catalogue.marked("a") is ModelMissing
    assert catalogue.usable() == []
    assert not catalogue.learn({"a": ModelCard(created=1)}, 4.9), "asked before the refusal"
    assert catalogue.marked("a") is ModelMissing
    assert catalogue.learn({"a": ModelCard(created=1)}, 5.1)
    assert catalogue.marked("a") is None
    assert catalogue.usable() == ["a"]


def test_a_marked_model_that_is_not_listed_stays_marked():
    catalogue = Catalogue({"public": "served"})
    catalogue.mark("public", EndpointRefused(), 5.0)
    catalogue.learn({"public": ModelCard(created=1)}, 6.0)
    assert catalogue.marked("public") is EndpointRefused
    catalogue.learn({"served": ModelCard(created=1)}, 7.0)
    assert catalogue.marked("public") is None
    assert catalogue.usable() == ["served"]


def test_other_fixed_models_keep_what_was_learnt():
    catalogue = Catalogue(None)
    catalogue.learn({"a": ModelCard(created=1)}, 1.0)
    catalogue.fix({"public": "a"})
    assert catalogue.names() == {"public"}
    assert catalogue.card("public") == {"created": 1}
    catalogue.fix(None)
    assert catalogue.known
    assert catalogue.names() == {"a"}
    fresh = Catalogue({"x": "x"})
    fresh.fix(None)
    assert not fresh.known
