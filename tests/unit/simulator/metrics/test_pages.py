"""The metrics pages of the real server: the simulator has their families, kinds, labels, and buckets."""

from __future__ import annotations

import re

import pytest

from app.simulator import Simulator
from tests.unit.simulator.raw_client import ask, get
from tests.unit.simulator.recordings import FOLDER, SERVERS, request_of

_SAMPLE = re.compile(r"([\w:]+)(?:\{(.*)\})? (\S+)")
_PAGES = {name: (FOLDER / f"{name}.txt").read_text() for name in ("metrics_under_load", "metrics_dp2")}
_NOT_ASKED = {"vllm:sleep_mode_operation_duration_seconds", "vllm:sleep_mode_operations_in_flight"}
"""Families of a development server."""


def kinds(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("# TYPE")]


def helps(page: str) -> set[str]:
    return {line for line in page.splitlines() if line.startswith("# HELP")}


def samples(page: str) -> dict[str, set[tuple[str, ...]]]:
    """Names with the label keys they come with; bucket bounds and reasons keep their values."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for line in page.splitlines():
        if match := _SAMPLE.fullmatch(line):
            labels = re.findall(r'(\w+)="([^"]*)"', match.group(2) or "")
            kept = (
                "le",
                "reason",
                "finished_reason",
                "source",
                "sleep_state",
                "outcome",
                "mode",
                "request_type",
            )
            keys = tuple(f"{key}={value}" if key in kept else key for key, value in labels)
            found.setdefault(match.group(1), set()).add(keys)
    return found


@pytest.fixture
async def page() -> str:
    async with Simulator(SERVERS["18101"]) as sim:
        for name in ("chat_stream", "chat_tool_auto", "get_unknown_404"):
            await ask(sim, request_of(name))
        answer = await ask(sim, get("/metrics"))
        assert answer.header("content-type") == "text/plain; version=1.0.0; charset=utf-8"
        return answer.body.decode()


async def test_families_kinds_and_helps_are_the_recorded_ones_in_their_order(page):
    wanted = _PAGES["metrics_under_load"]
    assert kinds(page) == kinds(wanted)
    assert helps(page) == helps(wanted)


async def test_samples_have_the_recorded_labels_in_alphabetical_order(page):
    said, wanted = samples(page), samples(_PAGES["metrics_under_load"])
    assert set(said) == set(wanted)
    assert {name: rows for name, rows in said.items() if name.startswith("vllm:")} == {
        name: rows for name, rows in wanted.items() if name.startswith("vllm:")
    }


async def test_two_engines_have_a_series_each():
    options = SERVERS["18101"].model_copy(update={"data_parallel": 2, "dev_mode": False})
    async with Simulator(options) as sim:
        page = (await ask(sim, get("/metrics"))).body.decode()
    recorded = {name for name in samples(_PAGES["metrics_dp2"]) if name.startswith("vllm:")}
    assert recorded <= set(samples(page))
    assert not _NOT_ASKED & set(samples(page))
    assert 'vllm:num_requests_running{engine="0",model_name="tiny"} 0.0' in page
    assert 'vllm:num_requests_running{engine="1",model_name="tiny"} 0.0' in page


async def test_an_old_server_has_the_old_names_only():
    async with Simulator(old_metric_names=True) as sim:
        page = (await ask(sim, get("/metrics"))).body.decode()
    assert "vllm:gpu_cache_usage_perc{" in page
    assert "vllm:time_per_output_token_seconds_bucket{" in page
    assert "kv_cache_usage_perc" not in page
    assert "inter_token_latency" not in page
