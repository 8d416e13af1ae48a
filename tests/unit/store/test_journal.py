"""The journal's file: rows come back as they were, it stays within its size, and it outlives its process."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from contextlib import closing

import msgspec
import pytest

from app.core.errors import StorageUnavailable
from app.store.journal import Journal
from app.store.refusal import StoreRefusal
from tests.stores import usage_row

LARGE = 2**30


@pytest.fixture
async def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db", LARGE)
    await journal.open()
    yield journal
    await journal.aclose()


async def test_rows_come_back_as_they_were_oldest_first(journal):
    rows = [usage_row(str(n), client_request_id=None, prompt_tokens=2**63 - 1, cost=0.1) for n in range(4)]
    for row in rows:
        await journal.write([row])
    assert (await journal.oldest(500)).rows == rows
    assert (await journal.oldest(2)).rows == rows[:2]
    assert journal.backlog == 4


async def test_what_is_forgotten_is_gone_and_later_rows_stay(journal):
    await journal.write([usage_row("a"), usage_row("b")])
    held = await journal.oldest(500)
    await journal.write([usage_row("c")])
    await journal.forget(held)
    assert journal.backlog == 1
    assert [row.call_id for row in (await journal.oldest(500)).rows] == ["c"]
    await journal.forget(await journal.oldest(500))
    assert await journal.oldest(500) is None
    assert journal.backlog == 0


async def test_another_process_finds_what_this_one_left(journal, tmp_path):
    await journal.write([usage_row("a"), usage_row("b")])
    later = Journal(tmp_path / "journal.db", LARGE)
    await later.open()
    assert later.backlog == 2
    await later.forget(await later.oldest(500))
    await later.aclose()
    assert journal.backlog == 2
    assert await journal.oldest(500) is None
    assert journal.backlog == 0


async def test_every_process_knows_what_all_have_written(journal, tmp_path):
    other = Journal(tmp_path / "journal.db", LARGE)
    await other.open()
    await other.write([usage_row("a"), usage_row("b")])
    await journal.write([usage_row("c")])
    assert journal.backlog == 3
    held = await other.oldest(1)
    assert (len(held.rows), other.backlog) == (2, 3)
    await other.forget(held)
    await journal.write([usage_row("d")])
    assert (other.backlog, journal.backlog) == (1, 2)
    await other.aclose()


async def test_rows_of_a_journal_that_was_never_summed_up_are_counted(tmp_path):
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as older:
        older.execute(
            "CREATE TABLE batches (id INTEGER PRIMARY KEY AUTOINCREMENT, size INTEGER, content BLOB)"
        )
        older.execute("INSERT INTO batches (size, content) VALUES (7, x'00')")
    journal = Journal(tmp_path / "journal.db", LARGE)
    await journal.open()
    assert journal.backlog == 7
    await journal.aclose()


async def test_a_full_journal_says_so_stays_small_and_has_room_again_after_a_drain(tmp_path):
    path = tmp_path / "journal.db"
    journal = Journal(path, 100_000)
    await journal.open()
    rows = [usage_row(f"c{n}") for n in range(20)]
    with pytest.raises(StorageUnavailable):
        for _ in range(1000):
            await journal.write(rows)
    assert journal.full
    assert path.stat().st_size <= 100_000
    kept = journal.backlog
    assert kept > 100
    held = await journal.oldest(10**6)
    assert len(held.rows) == kept
    await journal.forget(held)
    assert not journal.full
    await journal.write(rows)
    assert "backlog=20 full=False" in repr(journal)
    await journal.aclose()


async def test_a_failure_that_is_not_for_want_of_room_is_not_full(journal, tmp_path, monkeypatch):
    monkeypatch.setattr("app.store.journal._LOCK", 0.0)
    impatient = Journal(tmp_path / "journal.db", LARGE)
    await impatient.open()
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable):
        await impatient.write([usage_row("a")])
    assert not impatient.full
    other.execute("ROLLBACK")
    other.close()
    await impatient.write([usage_row("a")])
    await impatient.aclose()


async def test_a_file_that_was_deleted_is_made_anew(journal, tmp_path):
    await journal.write([usage_row("a")])
    for file in tmp_path.iterdir():
        file.unlink()
    await journal.write([usage_row("b")])
    assert [row.call_id for row in (await journal.oldest(500)).rows] == ["b"]


async def test_rows_of_a_release_with_other_columns_are_read(journal):
    columns, values = zip(*usage_row("a")._asdict().items(), strict=True)
    content = msgspec.msgpack.encode(((*columns, "unheard_of"), [(*values, 7)]))
    await journal._thread.run(
        lambda connection: connection.execute("INSERT INTO batches (size, content) VALUES (1, ?)", (content,))
    )
    assert (await journal.oldest(500)).rows == [usage_row("a")]


@pytest.mark.parametrize("place", ["garbage.db", "no folder/journal.db"])
async def test_a_journal_that_cannot_be_used_refuses_plainly(tmp_path, place):
    (tmp_path / "garbage.db").write_bytes(b"no database at all, but some bytes" * 99)
    with pytest.raises(StoreRefusal, match=r"The journal .* cannot be used"):
        await Journal(tmp_path / place, LARGE).open()


async def test_a_damaged_journal_is_refused(tmp_path):
    path = tmp_path / "journal.db"
    journal = Journal(path, LARGE)
    await journal.open()
    for _ in range(50):
        await journal.write([usage_row(f"c{n}") for n in range(50)])
    await journal.aclose()
    raw = bytearray(path.read_bytes())
    raw[8192 : len(raw) // 2] = os.urandom(len(raw) // 2 - 8192)
    path.write_bytes(raw)
    with pytest.raises(StoreRefusal, match="cannot be used"):
        await Journal(path, LARGE).open()


CHILD = """
import asyncio, sys
from pathlib import Path
from app.store.journal import Journal
from tests.stores import usage_row

async def main():
    journal = Journal(Path(sys.argv[1]), 2**30)
    await journal.open()
    number = 0
    while True:
        await journal.write([usage_row(f"{sys.argv[2]}-{number}")])
        print(f"{sys.argv[2]}-{number}", flush=True)
        number += 1

asyncio.run(main())
"""


async def test_killed_processes_that_share_a_file_lose_no_row_they_confirmed(tmp_path):
    path = tmp_path / "journal.db"
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    environ = {**os.environ, "PYTHONPATH": os.getcwd()}
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, str(script), str(path), name, stdout=asyncio.subprocess.PIPE, env=environ
        )
        for name in "ab"
    ]
    confirmed = []
    for child in children:
        confirmed += [(await child.stdout.readline()).decode().strip() for _ in range(50)]
    for child in children:
        child.kill()
    for child in children:
        confirmed += (await child.stdout.read()).decode().split()
        await child.wait()
    journal = Journal(path, LARGE)
    await journal.open()
    found = {row.call_id for row in (await journal.oldest(10**6)).rows}
    await journal.aclose()
    assert set(confirmed) <= found
