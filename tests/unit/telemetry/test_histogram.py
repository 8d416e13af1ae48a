from __future__ import annotations

from app.telemetry.histogram import BUCKETS, Histogram


def test_buckets_reach_from_5_ms_to_20_minutes():
    assert (BUCKETS[0], BUCKETS[-1]) == (0.005, 1200.0)
    assert list(BUCKETS) == sorted(BUCKETS)


def test_bounds_belong_to_their_bucket_and_counts_add_up():
    histogram = Histogram()
    for seconds in (0.0, 0.005, 0.0051, 5000.0):
        histogram.observe(seconds)
    counts = dict(histogram.cumulative())
    assert (counts["0.005"], counts["0.01"], counts["1200.0"], counts["+Inf"]) == (2, 3, 3, 4)
    assert histogram.sum == 5000.0101
