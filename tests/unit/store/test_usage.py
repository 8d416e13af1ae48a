"""The statement that writes the ledger's rows."""

from __future__ import annotations

import pytest

from app.store.tables import usage
from app.store.usage import COLUMNS, _upsert

LASTING = {"call_id", "client_request_id", "tenant_id", "key_id", "surface", "started_at", "hour", "gateway"}


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_an_end_replaces_all_but_what_the_call_is_from_its_beginning(dialect):
    replaced = _upsert(dialect).partition("SET ")[2].partition(" WHERE")[0]
    assert {each.split(" = ")[0] for each in replaced.split(", ")} == set(COLUMNS) - LASTING


def test_an_end_leaves_every_index_alone_but_that_of_open_calls():
    touched = [index.name for index in usage.indexes if not {c.name for c in index.columns} <= LASTING]
    assert touched == []
    assert {index.name for index in usage.indexes} >= {"ix_usage_started_at", "ix_usage_open"}
