"""From rounds to ratios to tables; and what wrk says."""

from __future__ import annotations

import pytest

from bench.alternate import summary
from bench.report import aligned, machine, ranged, text
from bench.scenarios import Scenario, Variant
from bench.wrk import read


def row(cpu_us: float, first: float = 0.001):
    times = dict.fromkeys(("first_p50", "first_p99", "whole_p50", "whole_p99", "gaps_max"), first)
    return times | {"cpu_us": cpu_us, "requests_per_second": 100.0, "errors": 0, "short": 0}


def test_ratios_are_to_every_reference_and_times_to_the_direct_way():
    direct = row(0.0, 0.0004)
    del direct["cpu_us"]
    rounds = {
        "gateway": [row(60.0), row(50.0)],
        "nginx": [row(20.0), row(25.0)],
        "direct": [direct, direct],
    }
    found = summary(Scenario("one", "One", 64, stream=True), rounds)
    pairs = {(pair["of"], pair["to"]): pair for pair in found["compared"]}
    assert pairs["gateway", "nginx"]["ratio"] == {"median": 2.5, "low": 2.0, "high": 3.0}
    assert pairs["gateway", "direct"]["added_first_p50"]["median"] == pytest.approx(0.0006)
    assert ("nginx", "direct") in pairs
    assert "ratio" not in pairs["gateway", "direct"]
    told = text([found], [])
    assert "2.5 (2-3)" in told
    assert "0.6 (0.6-0.6)" in told


def test_gateways_are_compared_with_the_first():
    scenario = Scenario("two", "Two", 64, gateways={"off": Variant(), "on": Variant()}, references=())
    found = summary(scenario, {"off": [row(40.0), row(50.0)], "on": [row(44.0), row(60.0)]})
    (pair,) = found["compared"]
    assert (pair["of"], pair["to"]) == ("on", "off")
    assert pair["ratio"]["median"] == pytest.approx(1.15)
    assert pair["added_cpu_us"] == {"median": 7.0, "low": 4.0, "high": 10.0}
    assert "One gateway beside another" in text([found], [])


def test_special_figures_are_numbers_spreads_or_words():
    figures = {"kept": True, "calls": 609, "s": 1.2345, "range, s": {"median": 1.0, "low": 0.5, "high": 2.0}}
    told = text([], [{"title": "Starts", "figures": figures}])
    assert [line.split()[-1] for line in told.splitlines()[2:]] == ["True", "609", "1.23", "(0.5-2)"]


def test_columns_are_aligned():
    assert aligned([["a", "b"], ["long", "1"], ["x", "100"]]).splitlines() == [
        "a       b",
        "----  ---",
        "long    1",
        "x     100",
    ]
    assert ranged(None) == "-"


def test_the_machine_is_told():
    assert machine().keys() == {"cpu", "cpus", "kernel", "python", "date"}


def test_wrk_is_understood():
    said = """
  1 threads and 64 connections
  Latency Distribution
     50%    1.03ms
     75%    1.38ms
     99%    1.20s
  90432 requests in 3.01s, 124.05MB read
  Socket errors: connect 0, read 2, write 0, timeout 1
  Non-2xx or 3xx responses: 4
"""
    found = read(said)
    assert (found["requests"], found["errors"]) == (90432, 7)
    assert found["requests_per_second"] == pytest.approx(90432 / 3.01)
    assert (found["whole_p50"], found["whole_p99"]) == (pytest.approx(0.00103), pytest.approx(1.2))


def test_what_is_no_answer_of_wrk_is_refused():
    with pytest.raises(ValueError, match="wrk said"):
        read("unable to connect")
