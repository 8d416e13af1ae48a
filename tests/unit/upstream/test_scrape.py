from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from app.upstream.row import describe
from app.upstream.scrape import HURRIED, Scrape, ScrapeOptions, Scraper, read_counts, read_load
from app.upstream.scraped import NOTHING, TokenCount
from tests.clock import FakeClock
from tests.unit.upstream.engines import Engine, Engines
from tests.unit.upstream.fleets import make_fleet, spec

TWO_ENGINES = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
vllm:num_requests_running{engine="1",model_name="tiny"} 4.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 1.0
vllm:num_requests_waiting{engine="1",model_name="tiny"} 1e1
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny",reason="capacity"} 99.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="tiny"} 0.75
"""
OLD = 'vllm:gpu_cache_usage_perc{model_name="tiny"} 0.5\n'


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def load(text: str) -> tuple[float | None, float | None, float | None]:
    scraped = read_load(text, [], 1.0, 2.0)
    assert (scraped.scraped_at, scraped.stale_at) == (1.0, 2.0)
    return scraped.running, scraped.waiting, scraped.kv_usage


def test_engines_are_summed_and_the_fullest_cache_counts():
    assert load(TWO_ENGINES) == (7.0, 11.0, 0.75)


def test_the_old_name_of_the_cache_counts_where_the_new_one_is_absent():
    assert load(OLD) == (None, None, 0.5)
    assert load(TWO_ENGINES + OLD.replace("0.5", "0.9")) == (7.0, 11.0, 0.75)


def test_what_is_absent_or_no_number_is_unknown_and_not_zero():
    assert load("") == (None, None, None)
    assert load("vllm:num_requests_running NaN\nvllm:num_requests_waiting +Inf\n") == (None, None, None)


@pytest.fixture
def engines() -> Engines:
    return Engines(a=Engine(metrics=TWO_ENGINES))


async def test_figures_are_kept_up_to_date_and_forgotten_when_they_stop(clock: FakeClock, engines: Engines):
    fleet = make_fleet(spec("a"), clock=clock)
    control = engines.control(clock)
    scraper = Scraper(fleet, control, clock, ScrapeOptions(), jitter=lambda: 0.5)
    scraper.start()
    await scraper.first_round()
    endpoint = fleet.endpoints["a"]
    assert (endpoint.scraped.running, describe(endpoint)["waiting"]) == (7.0, 11.0)
    engines["a"].metrics = "vllm:num_requests_running 1"
    await clock.run(16)
    assert endpoint.scraped.running == 1.0
    engines["a"].broken.add("/metrics")
    await clock.run(40)
    assert endpoint.scraped.running == 1.0
    await clock.run(10)
    assert endpoint.scraped == NOTHING
    assert endpoint.available
    await scraper.aclose()
    await control.aclose()
    assert len(asyncio.all_tasks()) == 1


async def test_trouble_is_told_once_when_it_begins_and_once_when_it_ends(
    clock: FakeClock, engines: Engines, caplog: pytest.LogCaptureFixture
):
    fleet = make_fleet(spec("a"), clock=clock)
    scrape = Scrape(
        fleet.endpoints["a"], control=engines.control(clock), clock=clock, options=ScrapeOptions()
    )
    await scrape()
    engines["a"].broken.add("/metrics")
    for _ in range(3):
        assert await scrape() == 15
    engines["a"].broken.clear()
    for _ in range(3):
        await scrape()
    messages = [r.getMessage() for r in caplog.records if r.name == "app.upstream.scrape"]
    assert messages == ["metrics of endpoint a: connect", "metrics of endpoint a: back"]
    assert {r.levelno for r in caplog.records} == {logging.WARNING}


async def test_another_status_is_trouble(clock: FakeClock, caplog: pytest.LogCaptureFixture):
    engines = Engines(a=Engine(completion=503))
    fleet = make_fleet(spec("a"), clock=clock)
    control = engines.control(clock)

    class Elsewhere:
        async def ask(self, spec, path, timeout):
            return await control.ask(spec, "/v1/completions", timeout)

    scrape = Scrape(fleet.endpoints["a"], control=Elsewhere(), clock=clock, options=ScrapeOptions())
    await scrape()
    assert "status 503" in caplog.text
    assert fleet.endpoints["a"].scraped == NOTHING


def test_what_engines_counted_is_told_by_engine_and_model():
    vectors = Path(__file__).parents[2] / "vectors" / "vllm"
    (one,) = read_counts((vectors / "metrics_under_load.txt").read_text())
    assert one == TokenCount("engine=0,model_name=tiny", 1.795164661930254e9, 7355, 62791)
    two = read_counts((vectors / "metrics_dp2.txt").read_text())
    assert two == [TokenCount(f"engine={rank},model_name=tiny", None, 33, 12) for rank in (0, 1)]


def test_counts_that_cannot_be_are_passed_over():
    page = "vllm:prompt_tokens_total NaN\nvllm:generation_tokens_total -1\nvllm:prompt_tokens_by_source_total 7\n"
    assert read_counts(page) == []
    assert read_counts("vllm:generation_tokens_total 3") == [TokenCount("", None, 0, 3)]


async def test_every_scrape_tells_what_was_counted(clock: FakeClock, engines: Engines):
    heard = []
    fleet = make_fleet(spec("a"), clock=clock)
    scrape = Scrape(
        fleet.endpoints["a"],
        control=engines.control(clock),
        clock=clock,
        options=ScrapeOptions(),
        counted=lambda endpoint, counts: heard.append((endpoint, counts)),
    )
    engines["a"].metrics = 'vllm:prompt_tokens_total{engine="0"} 5\n'
    await scrape()
    engines["a"].broken.add("/metrics")
    await scrape()
    assert heard == [("a", [TokenCount("engine=0", None, 5, 0)])]


SLEEPS = """\
vllm:engine_sleep_state{engine="0",model_name="tiny",sleep_state="awake"} 0.0
vllm:engine_sleep_state{engine="0",model_name="tiny",sleep_state="weights_offloaded"} 1.0
vllm:engine_sleep_state{engine="1",model_name="tiny",sleep_state="awake"} %s
"""


def test_it_sleeps_when_all_its_engines_do():
    asleep = [read_load(SLEEPS % awake, [], 1.0, 2.0).asleep for awake in ("0.0", "1.0")]
    assert asleep == [True, False]
    assert read_load(TWO_ENGINES, [], 1.0, 2.0).asleep is None


def test_tokens_are_summed_and_the_oldest_counter_says_when_it_began():
    counts = [TokenCount("a", 5.0, 3, 4), TokenCount("b", None, 1, 1), TokenCount("c", 2.0, 0, 9)]
    scraped = read_load("", counts, 1.0, 2.0)
    assert (scraped.tokens, scraped.life) == (18, 2.0)
    assert read_load("", [], 1.0, 2.0).tokens is None


async def test_a_questionable_endpoint_is_scraped_at_once_and_more_often(clock: FakeClock):
    engines = Engines(a=Engine())
    fleet = make_fleet(spec("a"), clock=clock)
    scraper = Scraper(fleet, engines.control(clock), clock, ScrapeOptions(), jitter=lambda: 0.5)
    scraper.start()
    await clock.run(1)
    assert len(engines["a"].asked) == 1
    fleet.endpoints["a"].belief.suspect("silent")
    await clock.run(0)
    assert len(engines["a"].asked) == 2
    await clock.run(1.5)
    assert len(engines["a"].asked) == 3
    fleet.endpoints["a"].belief.clear()
    await clock.run(15)
    assert len(engines["a"].asked) <= 5
    await scraper.aclose()


async def test_one_that_sleeps_is_out_until_its_metrics_say_otherwise_or_nothing(
    clock: FakeClock, engines: Engines
):
    endpoint = make_fleet(spec("a"), clock=clock).endpoints["a"]
    scrape = Scrape(endpoint, control=engines.control(clock), clock=clock, options=ScrapeOptions())
    engines["a"].metrics = SLEEPS % "0.0"
    assert await scrape() == HURRIED
    assert endpoint.reason_unavailable() == "asleep"
    engines["a"].broken.add("/metrics")
    await scrape()
    assert endpoint.reason_unavailable() == "asleep"
    clock.advance(46)
    await scrape()
    assert endpoint.available
