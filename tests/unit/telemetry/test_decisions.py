from __future__ import annotations

import json

from app.core.errors import RateLimitExceeded
from app.core.tenant import Decision
from app.telemetry.decisions import DecisionLog
from tests.unit.telemetry.trail import FAILED, a_call, an_end, attempts


def test_a_settled_call_is_explained_with_its_attempts():
    log = DecisionLog()
    call = a_call(attempts=attempts(FAILED, an_end()))
    log.settled(call, an_end())
    told = log.explain("call-1")
    assert (told["asked_model"], told["model"], told["endpoint"]) == ("gpt-4o", "qwen3", "gpu-a")
    assert (told["outcome"], told["status"], told["finish"]) == ("success", 200, "stop")
    assert [attempt["reason"] for attempt in told["attempts"]] == ["5xx", None]
    assert told["usage"]["prompt_tokens"] == 10


def test_a_refused_call_is_explained_with_its_limits():
    log = DecisionLog()
    limit = Decision("requests_per_minute", allowed=False, limit=60, remaining=0, reset_after=1.0)
    log.rejected(a_call(decisions=[limit]), RateLimitExceeded("Requests per minute."))
    told = log.explain("call-1")
    assert (told["outcome"], told["status"], told["message"]) == ("rejected", 429, "Requests per minute.")
    assert told["limits"][0]["used"] == 60
    assert told["usage"] is None


def test_what_is_told_is_json_and_holds_no_prompt():
    log = DecisionLog()
    log.settled(a_call(attempts=attempts(an_end())), an_end())
    assert "the prompt" not in json.dumps(log.explain("call-1"))


def test_unknown_calls_are_none():
    assert DecisionLog().explain("call-1") is None


def test_the_oldest_call_is_forgotten_first():
    log = DecisionLog(kept=2)
    for number in (1, 2, 3):
        log.settled(a_call(number), an_end())
    assert len(log) == 2
    assert log.explain("call-1") is None
    assert log.explain("call-3") is not None
