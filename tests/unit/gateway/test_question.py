"""A call that nobody sent is the call that would have been."""

from __future__ import annotations

import json

import pytest

from app.core.errors import InvalidRequest, ModelNotFound
from app.core.tenant import Key, Limits, Tenant
from app.gateway.catalog import Catalog, Model
from app.gateway.question import Question
from app.wire.surfaces import SURFACES
from tests.fakes import FakePool, FakePools
from tests.unit.gateway.stage import imagination

CHAT = SURFACES["/v1/chat/completions"]
LENGTH = 2048


def imagined(body, surface=CHAT, **fields):
    catalog = Catalog({"m": Model("m", aliases=("alias",))}, FakePools(FakePool("a")))
    return imagination(catalog).call(Question(surface, body, **fields))


def test_body_is_read_as_a_callers_is():
    body = {
        "model": "alias",
        "messages": [{"role": "user", "content": "x" * 400}],
        "n": 2,
        "max_tokens": 30,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    call, model = imagined(body, session="s")
    assert (call.model, call.target, model.name) == ("alias", "m", "m")
    assert (call.streams, call.n, call.completion_limit, call.usage_wanted) == (True, 2, 60, "final")
    assert (call.session, json.dumps(call.body)) == ("s", json.dumps(body))
    assert call.prompt_estimate > 90


def test_given_tokens_stand_for_a_prompt():
    assert imagined({"model": "m"}, prompt_tokens=5000)[0].prompt_estimate == 5000


def test_strict_tenant_may_take_what_the_context_leaves():
    strict = Key("key_1", Tenant("tnt_1", "team", Limits(), strict=True))
    assert imagined({"model": "m"}, key=strict, prompt_tokens=48)[0].completion_limit == LENGTH - 48
    assert imagined({"model": "m", "n": 2}, key=strict, prompt_tokens=48)[0].completion_limit == 2 * (
        LENGTH - 48
    )
    assert imagined({"model": "m"}, prompt_tokens=48)[0].completion_limit is None


def test_what_no_key_could_send_is_refused():
    with pytest.raises(InvalidRequest):
        imagined({"model": 7})
    with pytest.raises(ModelNotFound):
        imagined({"model": "unknown"})
