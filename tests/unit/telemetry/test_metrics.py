from __future__ import annotations

import pytest

from app.core.errors import CallerGone, InvalidKey, Overloaded, RequestTimeout
from app.core.outcome import NO_USAGE, Outcome, Settlement, Usage
from app.core.tenant import NOBODY
from app.telemetry.metrics import CallMetrics
from app.telemetry.options import MetricsOptions
from tests.unit.telemetry.trail import FAILED, GPU_A, a_call, an_end, attempts


@pytest.fixture
def metrics():
    return CallMetrics()


def test_settled_call_is_counted_once_with_its_times_and_tokens(metrics):
    metrics.settled(a_call(), an_end())
    assert metrics.requests == {("chat", "qwen3", "success", "200"): 1}
    assert metrics.tokens == {("qwen3", "acme"): [10, 5, 4, 2, 0]}
    assert metrics.duration["chat", "qwen3"].sum == 1.0
    assert metrics.first_token["qwen3", "gpu-a"].sum == 0.2
    assert metrics.output_token["qwen3", "gpu-a"].sum == pytest.approx(0.2)
    assert metrics.queue_wait["qwen3",].sum == 0.01


def test_json_answers_have_no_first_token(metrics):
    metrics.settled(a_call(streams=False), an_end())
    assert not metrics.first_token
    assert not metrics.output_token


def test_streams_without_an_event_have_no_first_token(metrics):
    metrics.settled(a_call(), an_end(first_byte=None, outcome=Outcome.FAILURE, usage=NO_USAGE))
    assert not metrics.first_token
    assert not metrics.tokens


def test_tokens_of_broken_streams_are_wasted_and_say_nothing_of_speed(metrics):
    metrics.settled(a_call(), an_end(outcome=Outcome.FAILURE, finish="cut"))
    assert metrics.tokens["qwen3", "acme"][4] == 5
    assert not metrics.output_token


def test_streams_that_broke_off_are_counted_by_what_followed(metrics):
    for outcome in ("resumed", "resumed", "failed"):
        metrics.resumed(a_call(), outcome)
    assert metrics.resumes == {("qwen3", "resumed"): 2, ("qwen3", "failed"): 1}


def test_stream_that_was_carried_on_wastes_nothing_but_counts_as_a_retry(metrics):
    broken = an_end(outcome=Outcome.FAILURE, reason="cut", usage=NO_USAGE, billed=False)
    metrics.settled(a_call(attempts=attempts(broken, an_end())), an_end())
    assert metrics.retries == {("cut",): 1}
    assert metrics.tokens == {("qwen3", "acme"): [10, 5, 4, 2, 0]}


def test_retries_are_counted_by_what_made_them_necessary(metrics):
    metrics.settled(a_call(attempts=attempts(FAILED, FAILED, an_end())), an_end())
    assert metrics.retries == {("5xx",): 2}
    assert metrics.tokens["qwen3", "acme"][4] == 6


def test_all_attempts_of_a_void_call_are_wasted_and_nobody_has_used_their_tokens(metrics):
    void = an_end(outcome=Outcome.FAILURE, usage=NO_USAGE, billed=False)
    metrics.settled(a_call(attempts=attempts(FAILED, FAILED)), void)
    assert metrics.tokens["qwen3", "acme"] == [0, 0, 0, 0, 6]


def test_attempts_are_counted_by_endpoint_outcome_and_reason(metrics):
    metrics.attempted(a_call(first_byte=None), GPU_A, FAILED)
    metrics.attempted(a_call(), GPU_A, an_end())
    assert metrics.attempts == {("gpu-a", "failure", "5xx"): 1, ("gpu-a", "success", "none"): 1}
    assert not metrics.interruptions


def test_usage_that_cannot_be_true_is_counted_and_logged_once_an_endpoint(metrics, caplog):
    for _ in range(3):
        metrics.attempted(a_call(), GPU_A, an_end(suspect=True))
    metrics.attempted(a_call(), GPU_A, an_end())
    assert metrics.suspect_usage == {("gpu-a",): 3}
    (record,) = caplog.records
    assert "gpu-a" in record.message


def test_broken_streams_are_interruptions_and_hang_ups_are_not(metrics):
    cut = an_end(outcome=Outcome.FAILURE, error_code="upstream_error", reason="cut", status=502)
    gone = an_end(outcome=Outcome.IGNORED, error_code="caller_gone", reason="hang_up", status=499)
    metrics.attempted(a_call(), GPU_A, cut)
    metrics.attempted(a_call(), GPU_A, gone)
    metrics.attempted(a_call(streams=False), GPU_A, cut)
    assert metrics.interruptions == {("gpu-a", "cut"): 1}


def test_refused_calls_count_as_requests_too(metrics):
    metrics.rejected(a_call(key=NOBODY, model="whatever", target=""), InvalidKey())
    metrics.rejected(a_call(), CallerGone())
    assert metrics.rejections == {("invalid_api_key",): 1, ("caller_gone",): 1}
    assert metrics.requests == {
        ("chat", "other", "rejected", "401"): 1,
        ("chat", "qwen3", "rejected", "499"): 1,
    }


def test_calls_shed_are_told_apart_by_what_there_was_too_little_of(metrics):
    metrics.rejected(a_call(), Overloaded(reason="memory"))
    metrics.settled(a_call(attempts=[]), an_end(status=503, reason="queue_full", error_code="overloaded"))
    tried = a_call(attempts=attempts(FAILED))
    metrics.settled(tried, an_end(status=503, reason="queue_wait", error_code="overloaded"))
    assert metrics.rejections == {("memory",): 1, ("queue_full",): 1}


def test_what_the_server_turned_away_counts_too(metrics):
    metrics.turned_away(RequestTimeout())
    assert metrics.rejections == {("request_timeout",): 1}
    assert metrics.requests == {("none", "other", "rejected", "408"): 1}


def test_only_known_models_become_labels():
    metrics = CallMetrics(known=lambda: {"qwen3"})
    for number in range(100):
        metrics.settled(a_call(target=f"invented-{number}"), an_end())
    metrics.settled(a_call(), an_end())
    assert {labels[1] for labels in metrics.requests} == {"other", "qwen3"}


def test_tenants_beyond_the_bound_are_other():
    metrics = CallMetrics(MetricsOptions(max_tenants=2))
    for number in [*range(5), 0]:
        metrics.settled(a_call(tenant=f"tenant-{number}"), an_end())
    assert {labels[1] for labels in metrics.tokens} == {"tenant-0", "tenant-1", "other"}
    assert metrics.tokens["qwen3", "tenant-0"][0] == 20


def test_tenants_can_be_left_out():
    metrics = CallMetrics(MetricsOptions(tenant_label=False))
    metrics.settled(a_call(), an_end())
    assert set(metrics.tokens) == {("qwen3", "")}


def test_changes_of_endpoints_are_counted_and_those_of_breakers_by_themselves(metrics):
    for word in ("open", "down", "half_open", "models", "open", "ejected", "suspected"):
        metrics.endpoint_changed("gpu-a", word)
    assert metrics.endpoint_changes == {("gpu-a", "down"): 1, ("gpu-a", "ejected"): 1}
    assert metrics.breaker_transitions == {("gpu-a", "open"): 2, ("gpu-a", "half_open"): 1}


def test_commits_are_timed(metrics):
    metrics.committed(100, 0.004)
    assert metrics.commit.sum == 0.004


def test_a_hedge_that_lost_is_counted_with_the_prompt_it_read(metrics):
    lost = Settlement(Outcome.IGNORED, usage=Usage(7), status=499, reason="hedge_lost", billed=False)
    call = a_call(attempts=attempts(lost, an_end()))
    metrics.attempted(call, GPU_A, lost)
    metrics.settled(call, an_end())
    assert metrics.attempts["gpu-a", "ignored", "hedge_lost"] == 1
    assert metrics.retries["hedge_lost",] == 1
    assert metrics.interruptions == {}
    assert metrics.tokens["qwen3", "acme"][0] == 10
    assert metrics.tokens["qwen3", "acme"][4] == 7
