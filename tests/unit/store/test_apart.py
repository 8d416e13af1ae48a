from __future__ import annotations

import os
import threading

import pytest

from app.store.apart import prepare_apart
from app.store.migrate import current, head
from app.store.refusal import StoreRefusal


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Threads of the tests' own runner do not count."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/new/sluice.db"


@pytest.fixture
def no_fork(monkeypatch):
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a process was forked"))


def test_a_new_database_is_made(url):
    prepare_apart(url)
    assert current(url) == head()


def test_one_that_is_up_to_date_needs_no_process(url, monkeypatch):
    prepare_apart(url)
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a process was forked"))
    prepare_apart(url)


def test_a_process_with_threads_is_not_forked(url, no_fork, monkeypatch, tmp_path):
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    prepare_apart(url)
    assert list(tmp_path.iterdir()) == []


def test_postgresql_is_left_alone(no_fork):
    prepare_apart("postgresql://nobody@127.0.0.1:1/nothing")


def test_a_failure_is_left_to_whoever_opens_the_database(tmp_path, capfd):
    (tmp_path / "file").write_text("")
    prepare_apart(f"sqlite:///{tmp_path}/file/sluice.db")
    assert capfd.readouterr() == ("", "")


def test_a_url_that_is_none_is_refused():
    with pytest.raises(StoreRefusal):
        prepare_apart("mysql://somewhere")
