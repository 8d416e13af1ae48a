from __future__ import annotations

from app.core.errors import ShuttingDown
from app.telemetry.inflight import InFlightTable
from tests.clock import FakeClock
from tests.unit.telemetry.trail import a_call


def test_a_call_is_in_the_table_while_it_is_open():
    table = InFlightTable(FakeClock(now=1002.5))
    call = a_call()
    table.opened(call, lambda error: None)
    [row] = table.rows()
    assert (row["call_id"], row["model"], row["elapsed_s"]) == ("call-1", "qwen3", 2.5)
    assert table.by_model() == {"qwen3": 1}
    table.closed(call)
    assert table.rows() == []
    assert repr(table) == "<InFlightTable 0>"


def test_listeners_hear_of_each_close_once():
    heard = []
    table = InFlightTable(FakeClock(), heard.append)
    call = a_call()
    table.opened(call, lambda error: None)
    table.closed(call)
    table.closed(call)
    assert heard == [call]


def test_one_call_can_be_stopped():
    stopped = []
    table = InFlightTable(FakeClock())
    table.opened(a_call(1), lambda error: stopped.append((1, error)))
    table.opened(a_call(2), lambda error: stopped.append((2, error)))
    error = ShuttingDown()
    assert table.stop("call-2", error)
    assert not table.stop("call-3", error)
    assert stopped == [(2, error)]


def test_calls_can_be_stopped_by_what_they_are_even_if_that_closes_them():
    table = InFlightTable(FakeClock())
    calls = [a_call(1, tenant="a"), a_call(2, tenant="b"), a_call(3, tenant="a")]
    for call in calls:
        table.opened(call, lambda error, call=call: table.closed(call))
    assert table.stop_all(ShuttingDown(), lambda call: call.key.tenant.name == "a") == 2
    assert [row["call_id"] for row in table.rows()] == ["call-2"]
    assert table.stop_all(ShuttingDown()) == 1
