from __future__ import annotations

import re

from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from app.telemetry.sums import GAUGES, Sums, folded, parse, render
from tests.unit.telemetry.test_exposition import everything


def page(*lines):
    return "\n".join(lines) + "\n"


def requests(count, model="qwen3"):
    return page("# TYPE sluice_requests_total counter", f'sluice_requests_total{{model="{model}"}} {count}')


def gauge(name, value):
    return page(f"# TYPE {name} gauge", f"{name} {value}")


def value(text, sample):
    return float(re.search(rf"^{re.escape(sample)} (.*)$", text, re.MULTILINE)[1])


QWEN = 'sluice_requests_total{model="qwen3"}'


def test_a_page_read_and_written_again_says_the_same():
    page = parse(everything().exposition().decode())
    assert parse(render(page)) == page


def test_counters_and_histograms_of_two_pages_add_up():
    text = everything().exposition().decode()
    both = render(folded([parse(text), parse(text)]))
    for family in text_string_to_metric_families(text):
        if family.type in {"counter", "histogram"}:
            for sample in family.samples:
                line = next(line for line in text.splitlines() if line.startswith(sample.name))
                name, _, one = line.rpartition(" ")
                assert value(both, name) == 2 * float(one)
    assert len(list(text_string_to_metric_families(both))) == len(list(text_string_to_metric_families(text)))


def test_series_that_only_one_process_has_are_kept():
    both = render(folded([parse(requests(3)), parse(requests(4, "llama"))]))
    assert (value(both, QWEN), value(both, 'sluice_requests_total{model="llama"}')) == (3, 4)


def test_every_gauge_of_ours_says_how_it_is_put_together():
    metrics = everything()
    Counter("control", "A counter with a time of birth.", registry=metrics.registry)
    gauges = {
        f.name for f in text_string_to_metric_families(metrics.exposition().decode()) if f.type == "gauge"
    }
    assert {name for name in gauges if not name.endswith("_created")} - GAUGES.keys() == set()


def test_gauges_show_the_sum_or_the_worst():
    for name, whole in (
        ("sluice_inflight_requests", 5),
        ("sluice_store_up", 2),
        ("sluice_shared_limits_up", 2),
        ("sluice_journal_backlog", 3),
        ("sluice_loop_lag_seconds", 3),
        ("control_created", 2),
    ):
        assert value(render(folded([parse(gauge(name, 2)), parse(gauge(name, 3))])), name) == whole


def test_what_a_dead_process_counted_still_counts_but_its_gauges_do_not():
    sums = Sums()
    inflight = gauge("sluice_inflight_requests", 7)
    sums.add({1: requests(3) + inflight, 2: requests(4) + inflight}, [1, 2])
    text = sums.add({2: requests(5) + inflight, 3: requests(1) + inflight}, [2, 3])
    assert value(text, QWEN) == 3 + 5 + 1
    assert value(text, "sluice_inflight_requests") == 14
    assert value(sums.add({3: requests(2)}, [3]), QWEN) == 3 + 5 + 2
    assert value(sums.add({}, []), QWEN) == 3 + 5 + 2


def test_a_process_that_does_not_answer_keeps_its_counts():
    sums = Sums()
    sums.add({1: requests(3), 2: requests(4)}, [1, 2])
    assert value(sums.add({2: requests(5)}, [1, 2]), QWEN) == 8
    assert value(sums.add({1: requests(6), 2: requests(5)}, [1, 2]), QWEN) == 11


def test_numbers_without_an_end_are_written_as_prometheus_reads_them():
    text = "".join(gauge(name, word) for name, word in (("a", "+Inf"), ("b", "-Inf"), ("c", "NaN")))
    assert render(parse(text)) == text
