from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.core.errors import RateLimitExceeded
from app.telemetry.exposition import Metrics, Readings
from app.telemetry.metrics import CallMetrics
from tests.unit.telemetry.trail import FAILED, GPU_A, a_call, an_end, attempts

CONTRACT = {
    "requests_total": "surface model outcome status_code",
    "request_duration_seconds": "surface model",
    "time_to_first_token_seconds": "model endpoint",
    "time_per_output_token_seconds": "model endpoint",
    "queue_wait_seconds": "model",
    "inflight_requests": "model",
    "queued_requests": "model",
    "prompt_tokens_total": "model tenant",
    "completion_tokens_total": "model tenant",
    "cached_prompt_tokens_total": "model tenant",
    "reasoning_tokens_total": "model tenant",
    "wasted_tokens_total": "model tenant",
    "tenant_limit_used_ratio": "tenant limit",
    "attempts_total": "endpoint outcome reason",
    "retries_total": "reason",
    "stream_interruptions_total": "endpoint reason",
    "endpoint_up": "endpoint",
    "endpoint_state": "endpoint state",
    "endpoint_changes_total": "endpoint to",
    "endpoint_breaker_state": "endpoint state",
    "endpoint_draining": "endpoint",
    "endpoint_inflight": "endpoint",
    "endpoint_concurrency_limit": "endpoint",
    "breaker_transitions_total": "endpoint to",
    "endpoint_requests_running": "endpoint",
    "endpoint_requests_waiting": "endpoint",
    "endpoint_kv_cache_usage_ratio": "endpoint",
    "rejected_total": "reason",
    "suspect_usage_total": "endpoint",
    "ledger_pending": "",
    "ledger_commit_seconds": "",
    "journal_backlog": "",
    "store_up": "",
    "shared_limits_up": "",
    "loop_lag_seconds": "",
    "config_last_reload_successful": "",
    "build_info": "version",
}


def row(name="gpu-a", **known):
    defaults = {"state": "up", "health": "up", "breaker": "closed", "draining": False, "inflight": 3}
    return {"name": name, **defaults, "limit": 256, "running": 2.0, "waiting": 0.0, "kv_usage": 0.25, **known}


def everything(fleet=None):
    calls = CallMetrics()
    cut = an_end(error_code="upstream_error", reason="cut", status=502, suspect=True)
    calls.attempted(a_call(), GPU_A, cut)
    calls.settled(a_call(attempts=attempts(FAILED, an_end())), an_end())
    calls.rejected(a_call(), RateLimitExceeded())
    calls.endpoint_changed("gpu-a", "open")
    calls.endpoint_changed("gpu-a", "stuck")
    calls.committed(1, 0.002)
    status = fleet or {"endpoints": [row()], "models": {"qwen3": {"queued": 4}}}
    readings = Readings(
        fleet=lambda: status,
        inflight=lambda: {"qwen3": 7},
        limits=lambda: [("acme", "tokens_per_day", 0.5)],
        ledger_pending=lambda: 1,
        journal_backlog=lambda: 0,
        store_up=lambda: True,
        shared_limits_up=lambda: True,
        loop_lag=lambda: 0.003,
        reload_successful=lambda: True,
    )
    return Metrics(calls, readings, {"version": "0.1.0"})


def samples(metrics):
    page = metrics.exposition().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


@pytest.mark.parametrize("name", CONTRACT)
def test_every_metric_of_the_contract_has_its_name_and_labels(name):
    found = [
        {label for label, _ in labels} - {"le"}
        for (sample, *labels) in samples(everything())
        if re.fullmatch(f"sluice_{name}(_bucket|_sum|_count)?", sample)
    ]
    assert found
    assert all(labels == set(CONTRACT[name].split()) for labels in found)


def test_nothing_but_the_contract_begins_with_our_prefix():
    names = {re.sub("_(bucket|sum|count)$", "", key[0]) for key in samples(everything())}
    assert {name for name in names if name.startswith("sluice_")} == {f"sluice_{name}" for name in CONTRACT}


def test_values_are_the_parts_own():
    values = samples(everything())
    endpoint = ("endpoint", "gpu-a")
    assert values["sluice_queued_requests", ("model", "qwen3")] == 4
    assert values["sluice_inflight_requests", ("model", "qwen3")] == 7
    assert values["sluice_endpoint_up", endpoint] == 1
    assert values["sluice_endpoint_kv_cache_usage_ratio", endpoint] == 0.25
    assert values["sluice_endpoint_breaker_state", endpoint, ("state", "closed")] == 1
    assert values["sluice_endpoint_breaker_state", endpoint, ("state", "open")] == 0
    assert values["sluice_request_duration_seconds_count", ("model", "qwen3"), ("surface", "chat")] == 1
    assert values["sluice_ledger_commit_seconds_sum",] == 0.002


def test_stale_figures_of_an_engine_are_absent():
    fleet = {"endpoints": [row(running=None, waiting=None, kv_usage=None, health="down")], "models": {}}
    values = samples(everything(fleet))
    assert ("sluice_endpoint_requests_running", ("endpoint", "gpu-a")) not in values
    assert values["sluice_endpoint_up", ("endpoint", "gpu-a")] == 0


@pytest.mark.parametrize("state", ["asleep", "paused", "stuck"])
def test_an_engine_that_completes_nothing_is_not_up(state):
    values = samples(everything({"endpoints": [row(state=state)], "models": {}}))
    assert values["sluice_endpoint_up", ("endpoint", "gpu-a")] == 0
    assert values["sluice_endpoint_state", ("endpoint", "gpu-a"), ("state", state)] == 1


def test_an_endpoint_not_probed_yet_counts_as_up():
    fleet = {"endpoints": [row(health="unknown")], "models": {}}
    assert samples(everything(fleet))["sluice_endpoint_up", ("endpoint", "gpu-a")] == 1


def test_parts_that_are_not_there_are_left_out():
    values = samples(Metrics(CallMetrics(), Readings(), {"version": "0.1.0"}))
    assert ("sluice_store_up",) not in values
    assert values["sluice_build_info", ("version", "0.1.0")] == 1


def test_the_process_and_two_registries_beside_each_other():
    first = samples(everything())
    second = samples(everything())
    assert any(key[0] == "process_resident_memory_bytes" for key in first)
    assert first.keys() == second.keys()


def test_the_ledgers_balance_with_the_engines_is_shown_by_kind_of_token():
    @dataclass
    class Balanced:
        endpoint: str
        gaps: dict[str, int]
        overbooked: dict[str, int]

    balances = [Balanced("gpu-a", {"prompt": 5, "completion": -9}, {"prompt": 0, "completion": 2})]
    balances.append(Balanced("gpu-b", {}, {}))
    values = samples(Metrics(CallMetrics(), Readings(balances=lambda: balances), {"version": "0.1.0"}))
    found = {key: value for key, value in values.items() if key[0].startswith("sluice_reconcile")}
    of_a = ("endpoint", "gpu-a")
    assert found == {
        ("sluice_reconcile_gap_tokens", of_a, ("kind", "prompt")): 5,
        ("sluice_reconcile_gap_tokens", of_a, ("kind", "completion")): -9,
        ("sluice_reconcile_overbooked_tokens", of_a, ("kind", "prompt")): 0,
        ("sluice_reconcile_overbooked_tokens", of_a, ("kind", "completion")): 2,
    }
