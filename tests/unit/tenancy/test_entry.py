"""A call as a row of the ledger."""

from __future__ import annotations

import pytest

from app.core.call import HEDGE_LOST, Attempt
from app.core.outcome import Outcome, Settlement, Usage
from app.tenancy.calendar import Calendar
from app.tenancy.entry import Entries
from app.tenancy.pricing import Price, Pricing
from tests.fakes import make_call

ENTRIES = Entries(Pricing({"m": Price(prompt=1, completion=2)}), Calendar(), "host:1:aa")


def failed(completion):
    return Attempt("gpu-b", 0.0, Settlement(Outcome.FAILURE, Usage(0, completion)))


def test_an_open_row_holds_what_would_be_known_if_we_died():
    row = ENTRIES.opened(make_call(id="a", prompt_estimate=7, started_at=1_795_000_000.0))
    assert (row.call_id, row.state, row.usage_source) == ("a", "open", "estimated")
    assert (row.prompt_tokens, row.completion_tokens, row.cost) == (7, 0, 7e-6)
    assert (row.finish, row.status, row.elapsed_s) == (None, None, None)
    assert (row.hour, row.gateway) == ("2026-11-18T11:00+00:00", "host:1:aa")


class Reading:
    usage = Usage(10, 20, 4, 2)
    usage_source = "counted"


def test_a_checkpoint_holds_what_is_known_so_far_and_costs_that():
    call = make_call(endpoint="gpu-a", served_model="org/m", metered=Reading(), attempts=[failed(5)])
    row = ENTRIES.checkpoint(call)
    assert (row.state, row.usage_source, row.endpoint, row.served_model) == (
        "open", "counted", "gpu-a", "org/m",
    )  # fmt: skip
    assert row[10:15] == (10, 20, 4, 2, 5)
    assert (row.cost, row.attempts, row.finish) == (pytest.approx(50e-6), 1, None)
    assert ENTRIES.checkpoint(make_call(id="a")) == ENTRIES.opened(make_call(id="a"))


def test_a_settled_row_holds_the_truth():
    call = make_call(
        client_request_id="mine", model="alias", target="m", served_model="org/m", endpoint="gpu-a"
    )
    end = Settlement(
        Outcome.SUCCESS,
        Usage(10, 20, 4, 2),
        "counted",
        200,
        first_byte=0.1,
        elapsed=0.5,
        finish="stop",
    )
    call.attempts.append(Attempt("gpu-a", 0.0, end))
    row = ENTRIES.settled(call, end)
    assert row[1:23] == (
        "mine", "tnt_1", "key_1", "m", "org/m", "gpu-a", call.surface.name, "settled", "counted",
        10, 20, 4, 2, 0, pytest.approx(50e-6), "stop", 200, None, call.started_at, 0.1, 0.5, 1,
    )  # fmt: skip


def test_what_is_not_billed_is_void_and_costs_nothing():
    end = Settlement(Outcome.FAILURE, Usage(10, 20), status=502, error_code="upstream_error", billed=False)
    row = ENTRIES.settled(make_call(), end)
    assert (row.state, row.usage_source, row.status, row.error_code) == ("void", None, 502, "upstream_error")
    assert (row.prompt_tokens, row.completion_tokens, row.cost) == (0, 0, 0.0)
    assert row.wasted_tokens == 20


def test_wasted_is_what_attempts_made_that_did_not_end_well():
    call = make_call(attempts=[failed(5), failed(6), failed(7)])
    assert ENTRIES.settled(call, Settlement(Outcome.SUCCESS, Usage(1, 100))).wasted_tokens == 11
    assert ENTRIES.settled(call, Settlement(Outcome.IGNORED, Usage(1, 100))).wasted_tokens == 111


def test_nobody_pays_for_any_attempt_of_a_void_call():
    call = make_call(attempts=[failed(5), failed(6)])
    assert ENTRIES.settled(call, Settlement(Outcome.FAILURE, billed=False)).wasted_tokens == 11


@pytest.mark.parametrize("name", ["prompt", "completion", "cached", "reasoning"])
@pytest.mark.parametrize(("count", "written"), [(-1, 0), (2**63 - 1, 2**63 - 1), (2**63, 2**63 - 1)])
def test_each_count_fits_its_column(name, count, written):
    row = ENTRIES.settled(make_call(), Settlement(Outcome.SUCCESS, Usage(**{name: count})))
    assert getattr(row, f"{name}_tokens") == written


def test_a_forged_count_of_a_lost_attempt_fits_its_column_too():
    end = Settlement(Outcome.SUCCESS, Usage(1, 2))
    assert ENTRIES.settled(make_call(attempts=[failed(2**62)] * 4), end).wasted_tokens == 2**63 - 1
    assert ENTRIES.settled(make_call(attempts=[failed(-5)] * 2), end).wasted_tokens == 0


def test_a_forged_count_or_word_cannot_keep_others_from_being_written():
    forged = Settlement(Outcome.SUCCESS, Usage(-5, 10**30), finish="a\x00b\n" + "x" * 100)
    row = ENTRIES.settled(make_call(target="m\x00", served_model="m\ud800"), forged)
    assert (row.prompt_tokens, row.completion_tokens) == (0, 2**63 - 1)
    assert row.finish == "ab" + "x" * 30
    assert (row.model, row.served_model) == ("m", "m")


def test_of_an_outrun_attempt_the_prompt_is_wasted_too():
    lost = Settlement(Outcome.IGNORED, Usage(7, 2), reason=HEDGE_LOST, billed=False)
    won = Settlement(Outcome.SUCCESS, Usage(10, 20))
    call = make_call(attempts=[Attempt("gpu-b", 0.0, lost), Attempt("gpu-a", 1.0, won, True)])
    row = ENTRIES.settled(call, won)
    assert (row.wasted_tokens, row.prompt_tokens, row.completion_tokens) == (9, 10, 20)
