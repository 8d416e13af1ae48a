from __future__ import annotations

from types import SimpleNamespace

import pytest

from app.server.connection import Connection


@pytest.fixture
def answer():
    return SimpleNamespace(disconnected=False, keep_alive=True)


def test_hang_up_calls_back_once(answer):
    heard = []
    connection = Connection(("127.0.0.1", 1), answer)
    connection.on_hang_up(lambda: heard.append(1))
    connection.hang_up()
    connection.hang_up()
    assert heard == [1]


def test_callback_can_be_taken_back(answer):
    connection = Connection(None, answer)
    connection.on_hang_up(lambda: pytest.fail("called"))
    connection.on_hang_up(None)
    connection.hang_up()


def test_who_asks_after_the_hang_up_is_told_at_once(answer):
    answer.disconnected = True
    heard = []
    Connection(None, answer).on_hang_up(lambda: heard.append(1))
    assert heard == [1]


def test_close_ends_keep_alive(answer):
    Connection(None, answer).close()
    assert answer.keep_alive is False


def test_dropping_is_no_hang_up_that_anybody_hears_of(answer):
    dropped = []
    answer.drop = lambda: dropped.append(True)
    connection = Connection(None, answer)
    connection.on_hang_up(lambda: pytest.fail("called"))
    connection.drop()
    connection.hang_up()
    assert dropped == [True]
