"""Peak EWMA."""

from app.routing.peak_ewma import PeakEwma
from tests.unit.routing.fleet import call, seats, shares


def fleet(latencies, inflights=(0, 0), weights=(1, 1)):
    endpoints = seats(**{f"e{place}": weight for place, weight in enumerate(weights)})
    for endpoint, latency, inflight in zip(endpoints, latencies, inflights, strict=True):
        endpoint.latency, endpoint.inflight = latency, inflight
    return endpoints


def picked(endpoints) -> str:
    return PeakEwma().pick(call(), endpoints).spec.name


def test_the_faster_endpoint_is_picked():
    assert picked(fleet((0.5, 0.2))) == "e1"


def test_a_fast_endpoint_with_many_calls_is_passed_over():
    assert picked(fleet((0.5, 0.2), inflights=(0, 2))) == "e0"


def test_weight_makes_an_endpoint_cheaper():
    assert picked(fleet((0.5, 0.2), weights=(3, 1))) == "e0"


def test_a_new_endpoint_is_tried_and_not_run_over():
    endpoints = fleet((0.2, None))
    for _ in range(10):
        PeakEwma().pick(call(), endpoints).inflight += 1
    assert [endpoint.inflight for endpoint in endpoints] == [5, 5]


def test_where_nothing_is_known_load_and_weight_decide():
    assert shares(PeakEwma(), fleet((None, None)), 100) == {"e0": 50, "e1": 50}
    assert picked(fleet((None, None), inflights=(1, 0))) == "e1"
    assert picked(fleet((None, None), weights=(1, 2))) == "e1"
