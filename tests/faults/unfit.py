"""Where httpx cannot keep the transport's promise, case by case, and why."""

from __future__ import annotations

HTTPX_FAILS = {
    "test_u15_poison_behind_a_short_body_never_reaches_the_next_call": (
        "h11 keeps what came behind an answer and reads it as the next one"
    ),
    "test_u41_anything_behind_the_end_costs_the_connection": (
        "h11 keeps what came behind an answer and reads it as the next one"
    ),
    "test_u18_reused_connection_that_dies_unheard_is_resent_once": (
        "httpcore does not tell a reused connection from a fresh one, nor whether a byte came back"
    ),
    "test_u21_flood_of_informational_answers_is_refused": "httpcore swallows any number of 1xx answers",
    "test_keep_alive_ends_after_four_seconds": "httpcore reads a clock of its own",
}

HTTPX_UNFIT = {
    "test_u19_endpoint_that_closes_idle_connections_at_any_moment_costs_no_call": (
        "without the resend, which it cannot have, the race is lost now and then"
    ),
    "test_answer_that_overtakes_its_request_is_read_and_the_connection_dropped": (
        "httpcore writes the whole request before it reads: it would wait for ever"
    ),
    "test_u58_random_cancellations_leave_no_connection_in_use": (
        "httpcore keeps connections whose calls were cancelled right after connecting, as bare httpx shows: "
        "mostly 60 to 220 of them after some 2,500 calls, how many is chance"
    ),
}
