from __future__ import annotations

import json

import pytest

from app.core.errors import CallerGone, InvalidKey
from app.core.outcome import Outcome
from app.core.tenant import NOBODY
from app.telemetry.access import AccessLog
from app.telemetry.options import AccessOptions
from tests.clock import FakeClock
from tests.unit.telemetry.trail import FAILED, a_call, an_end, attempts

FIELDS = [
    "time",
    "remote_addr",
    "tenant",
    "key_id",
    "call_id",
    "client_request_id",
    "method",
    "path",
    "status",
    "error_code",
    "body_bytes_sent",
    "user_agent",
    "referer",
    "surface",
    "model",
    "endpoint",
    "upstream_addr",
    "attempts",
    "queue_wait_s",
    "ttft_s",
    "request_time",
    "prompt_tokens",
    "completion_tokens",
    "usage_source",
    "finish",
]


class Log(AccessLog):
    """An access log and the lines it wrote."""

    def __init__(self, chance=0.0, **options):
        self.clock = FakeClock()
        self.written = []
        super().__init__(AccessOptions(**options), self.written.append, self.clock, lambda: chance)

    def ended(self, call, settlement):
        self.settled(call, settlement)
        self.closed(call)

    @property
    def lines(self):
        self.flush()
        return [json.loads(line) for line in b"".join(self.written).splitlines()]


@pytest.fixture
def log():
    return Log()


def test_a_call_is_one_line_with_the_contracts_fields_in_order(log):
    log.ended(a_call(attempts=attempts(FAILED, an_end()), body_bytes_sent=321), an_end())
    [line] = log.lines
    assert list(line) == FIELDS
    assert line["time"] == "2026-11-18T11:06:40.250+00:00"
    assert (line["status"], line["error_code"], line["finish"], line["usage_source"]) == (
        *(200, None),
        *("stop", "upstream"),
    )
    assert (line["attempts"], line["prompt_tokens"], line["completion_tokens"]) == (2, 10, 5)
    assert (line["ttft_s"], line["request_time"], line["queue_wait_s"]) == (0.2, 1.0, 0.01)


def test_bytes_are_counted_to_the_last_one(log):
    call = a_call()
    log.settled(call, an_end())
    call.body_bytes_sent = 99
    log.closed(call)
    assert log.lines[0]["body_bytes_sent"] == 99


def test_closing_twice_or_without_a_settlement_writes_nothing_more(log):
    call = a_call()
    log.closed(call)
    log.ended(call, an_end())
    log.closed(call)
    assert len(log.lines) == 1


def test_bodies_never_reach_the_log(log):
    log.ended(a_call(), an_end())
    assert "the prompt" not in json.dumps(log.lines)


def test_refused_calls_are_written_at_once(log):
    log.clock.now = 1000.5
    log.rejected(a_call(key=NOBODY, model="", target="", endpoint=None, first_byte=None), InvalidKey())
    [line] = log.lines
    assert (line["status"], line["error_code"], line["tenant"]) == (401, "invalid_api_key", "")
    assert line["body_bytes_sent"] == len(InvalidKey().body())
    assert line["request_time"] == 0.5
    assert line["finish"] is None


def test_who_left_before_being_admitted_got_nothing(log):
    log.rejected(a_call(), CallerGone())
    assert (log.lines[0]["status"], log.lines[0]["body_bytes_sent"]) == (499, 0)


def test_failed_calls_are_never_sampled_out():
    log = Log(chance=0.5, sample=0.0)
    log.ended(a_call(1), an_end())
    log.ended(a_call(2), an_end(outcome=Outcome.FAILURE, status=502, error_code="upstream_error"))
    log.ended(a_call(3), an_end(outcome=Outcome.IGNORED, status=499))
    log.rejected(a_call(4), InvalidKey())
    assert [line["call_id"] for line in log.lines] == ["call-2", "call-3", "call-4"]


@pytest.mark.parametrize(("chance", "written"), [(0.29, 1), (0.3, 0)])
def test_successful_calls_are_sampled(chance, written):
    log = Log(chance=chance, sample=0.3)
    log.ended(a_call(), an_end())
    assert len(log.lines) == written


@pytest.mark.parametrize("options", [{"enabled": False}, {"exclude": ["/v1/chat/completions"]}])
def test_what_is_not_wanted_is_not_written_nor_kept(options):
    log = Log(**options)
    log.ended(a_call(), an_end())
    log.rejected(a_call(), InvalidKey())
    assert log.lines == []


def test_lines_wait_a_twentieth_of_a_second_at_most(log):
    log.ended(a_call(1), an_end())
    log.ended(a_call(2), an_end())
    log.clock.advance(0.04)
    assert log.written == []
    log.clock.advance(0.01)
    assert len(log.written) == 1
    log.ended(a_call(3), an_end())
    log.clock.advance(0.05)
    assert len(log.written) == 2


def test_a_full_buffer_is_written_at_once(log):
    number = 0
    while not log.written:
        number += 1
        log.ended(a_call(number), an_end())
    assert 65536 <= len(log.written[0]) < 66536
    log.clock.advance(1.0)
    assert len(log.written) == 1


def test_long_and_hostile_values_stay_one_short_line(log):
    hostile = 'x\n{"fake":1}\x1b[31m\u2028\u0085"' + "y" * 1_000_000
    log.ended(a_call(user_agent=hostile, referer=hostile, model=hostile, remote_addr=hostile), an_end())
    log.flush()
    text = log.written[0].decode()
    assert len(text.splitlines()) == 1
    assert text.isascii()
    assert "\x1b" not in text
    assert len(text) < 5000
    assert json.loads(text)["user_agent"] == hostile[:256]


def test_text_is_what_nginx_writes():
    log = Log(format="text")
    agent = 'curl "8"\n'
    log.ended(a_call(remote_addr="10.0.0.9", user_agent=agent, tenant="big co", body_bytes_sent=7), an_end())
    log.flush()
    assert b"".join(log.written) == (
        b"10.0.0.9 - big_co [18/Nov/2026:11:06:40 +0000] "
        b'"POST /v1/chat/completions HTTP/1.1" 200 7 "-" "curl \\"8\\"\\n"\n'
    )


def test_a_broken_pipe_loses_lines_and_nothing_else():
    def broken(lines):
        raise BrokenPipeError

    log = AccessLog(AccessOptions(), broken, FakeClock())
    log.rejected(a_call(), InvalidKey())
    log.flush()
    log.flush()
    assert log.lost == 1
