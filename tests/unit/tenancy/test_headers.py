"""OpenAI's rate-limit headers."""

from __future__ import annotations

import pytest

from app.core.tenant import Decision
from app.tenancy.headers import ratelimit_headers, span


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0s"), (0.2, "1s"), (1, "1s"), (59.1, "1m0s"), (360, "6m0s"), (3725, "1h2m5s"), (-3, "0s")],
)
def test_a_span_is_written_as_openai_does(seconds, written):
    assert span(seconds) == written


def test_the_tightest_limit_of_each_kind_is_shown():
    decisions = [
        Decision("requests_per_minute", True, 100, 9, 54.6),
        Decision("requests_per_minute", True, 10, 5, 30.0),
        Decision("tokens_per_minute", True, 1000, 900, 6.0),
        Decision("concurrency", True, 3, 0, 0.0),
        Decision("requests_per_minute", True, 50, 6, 1.0),
    ]
    assert ratelimit_headers(decisions) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "5",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "900",
        "x-ratelimit-reset-tokens": "6s",
    }


def test_no_limit_is_no_header():
    assert ratelimit_headers([]) == {}
