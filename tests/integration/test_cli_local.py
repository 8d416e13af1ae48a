"""What the command line does with a database of its own."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import time

import pytest
from click.testing import CliRunner

from app.cli import main
from app.store import migrate as schema
from app.store.location import Location
from app.store.pepper import sha256, unlock
from tests.postgres import postgres_server, postgres_url  # noqa: F401
from tests.stores import opened, usage_row

SECRET = "a secret of the tests, long enough"


@pytest.fixture
def sluice(tmp_path, monkeypatch):
    """The command, with a database that is not there yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLUICE_DATABASE_URL", f"sqlite:///{tmp_path}/sluice.db")
    monkeypatch.delenv("SLUICE_URL", raising=False)
    return lambda *words: CliRunner().invoke(main, words)


@pytest.fixture
def migrated(sluice, tmp_path):
    assert sluice("migrate").stdout == f"sqlite:///{tmp_path}/sluice.db has schema {schema.head()}\n"
    return f"sqlite:///{tmp_path}/sluice.db"


@pytest.mark.parametrize(
    "words",
    ["tenants list", "tenants create a", "keys list", "usage", "export", "prune", "backup b.tar"],
)
def test_none_of_them_creates_a_database(sluice, tmp_path, words):
    done = sluice(*words.split())
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"sluice: There is no database at {tmp_path}/sluice.db")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_schema_is_refused_with_the_remedy(sluice, migrated):
    assert "has schema none" in sluice("migrate", "--to", "base").stdout
    done = sluice("tenants", "list")
    assert (done.exit_code, "run `sluice migrate`" in done.stderr) == (1, True)
    done = sluice("migrate", "--to", "nowhere")
    assert (done.exit_code, done.stderr) == (1, "sluice: There is no such schema revision: nowhere.\n")


def test_a_wrong_configuration_is_one_plain_line(sluice, migrated, tmp_path):
    (tmp_path / "c.yaml").write_text("databse_url: x")
    done = sluice("tenants", "list", "--config", "c.yaml")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "sluice: databse_url: unknown key; did you mean 'database_url'?\n"


def test_keys_are_imported_in_plain_and_by_their_hash_and_each_once(sluice, migrated, tmp_path):
    sluice("tenants", "create", "team")
    hashed = hashlib.sha256(b"sk-from-litellm").hexdigest()
    (tmp_path / "keys.csv").write_text(
        f"secret,tenant,name,expires_at\nsk-in-plain-1,team,old,2999-01-01\n{hashed},,litellm,\n"
    )
    assert sluice("keys", "import", "keys.csv").exit_code == 1
    done = sluice("keys", "import", "keys.csv", "--tenant", "team")
    assert (done.exit_code, done.stdout) == (0, "imported 2 of 2 keys\n")
    assert sluice("keys", "import", "keys.csv", "--tenant", "team").stdout == (
        "imported 0 of 2 keys; the others are known\n"
    )
    rows = json.loads(sluice("keys", "list", "--json").stdout)
    assert {(row["name"], row["prefix"]) for row in rows} == {("old", "sk-in-pl"), ("litellm", "")}

    async def owners():
        async with opened(migrated, migrated=False) as stores:
            pepper = await unlock(stores.database)
            digests = [pepper.digest(sha256(secret)) for secret in ("sk-in-plain-1", "sk-from-litellm")]
            return {key.name for key in (await stores.lookup.find(digests)).values()}

    assert asyncio.run(owners()) == {"old", "litellm"}


def test_nothing_is_imported_while_a_tenant_is_missing(sluice, migrated, tmp_path):
    sluice("tenants", "create", "team")
    (tmp_path / "keys.csv").write_text("secret,tenant\nsk-in-plain-1,team\nsk-in-plain-2,teem\n")
    done = sluice("keys", "import", "keys.csv")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[1:] == ["sluice: line 3: there is no tenant 'teem'"]
    assert json.loads(sluice("keys", "list", "--json").stdout) == []


def test_another_secret_than_the_databases_is_refused(sluice, migrated, monkeypatch):
    sluice("tenants", "create", "team")
    assert sluice("keys", "create", "team").exit_code == 0
    monkeypatch.setenv("SLUICE_SECRET", SECRET)
    done = sluice("keys", "create", "team")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "SLUICE_SECRET" in done.stderr


def test_running_calls_are_not_this_process_to_cut(sluice, migrated):
    sluice("tenants", "create", "team")
    key = json.loads(sluice("keys", "create", "team", "--json").stdout)["id"]
    assert "SLUICE_URL" in sluice("keys", "revoke", key, "--abort").stderr
    assert len(json.loads(sluice("keys", "list", "--json").stdout)) == 1


@pytest.fixture
def used(sluice, migrated):
    """Two tenants' calls, one of them old; the second tenant is deleted."""
    ids = {name: json.loads(sluice("tenants", "create", name, "--json").stdout)["id"] for name in ("a", "b")}
    now = time.time()

    async def write():
        async with opened(migrated, migrated=False) as stores:
            await stores.rows.write(
                [
                    usage_row("1", tenant_id=ids["a"], started_at=now - 10, model="m"),
                    usage_row("2", tenant_id=ids["a"], started_at=now - 500 * 86400, model="n"),
                    usage_row("3", tenant_id=ids["b"], started_at=now - 10, model="m"),
                ]
            )

    asyncio.run(write())
    sluice("tenants", "delete", "b", "--yes")
    return ids


def test_usage_is_filtered_grouped_and_written_in_each_format(sluice, used):
    rows = json.loads(sluice("usage", "--tenant", "a", "--json").stdout)
    assert [(row["tenant"], row["model"], row["total_tokens"]) for row in rows] == [
        ("a", "m", 30),
        ("a", "n", 30),
    ]
    rows = json.loads(
        sluice("usage", "--from", "30d", "--model", "m", "--group-by", "model", "--json").stdout
    )
    assert [(row["model"], row["requests"]) for row in rows] == [("m", 2)]
    table = sluice("usage", "--from", "30d", "--group-by", "tenant,key").stdout
    assert used["b"] in table
    assert "key_1" in table
    lines = sluice("usage", "--format", "jsonl").stdout.splitlines()
    rows = list(csv.DictReader(io.StringIO(sluice("usage", "--format", "csv").stdout)))
    assert (
        [json.loads(line)["requests"] for line in lines]
        == [int(row["requests"]) for row in rows]
        == [1, 1, 1]
    )


def test_the_rows_themselves_come_in_each_format(sluice, used):
    rows = [json.loads(line) for line in sluice("usage", "calls").stdout.splitlines()]
    assert sorted(row["call_id"] for row in rows) == ["1", "2", "3"]
    done = sluice("usage", "calls", "--format", "csv", "--tenant", "a", "--from", "1d", "--model", "m")
    assert [row["call_id"] for row in csv.DictReader(io.StringIO(done.stdout))] == ["1"]


def test_old_rows_are_pruned_by_the_retention_or_by_a_moment(sluice, used):
    assert sluice("prune").stdout == "deleted 1 rows\n"
    assert sluice("usage", "prune", "--before", "0s").stdout == "deleted 2 rows\n"


def test_reconcile_compares_the_ledger_with_what_engines_counted(sluice, used, migrated):
    for words in (("reconcile",), ("usage", "reconcile")):
        done = sluice(*words, "--from", "2026-11-01", "--to", "2026-11-30")
        assert (done.exit_code, "unknown" in done.stdout) == (0, True)
    assert sluice("reconcile", "--endpoint", "none").exit_code == 0
    assert sluice("reconcile", "--from", "1d", "--to", "2d").exit_code == 1
    rows = json.loads(sluice("reconcile", "--from", "2026-11-01", "--to", "2026-11-30", "--json").stdout)
    assert {row["verdict"] for row in rows} == {"unknown"}


def test_a_backup_brings_tenants_and_keys_back(sluice, migrated, tmp_path):
    sluice("tenants", "create", "team")
    sluice("keys", "create", "team")
    assert sluice("backup", "b.tar").exit_code == 0
    sluice("tenants", "create", "later")
    done = sluice("restore", "b.tar")
    assert (done.exit_code, "--replace" in done.stderr) == (1, True)
    assert sluice("restore", "b.tar", "--replace").exit_code == 0
    assert [row["name"] for row in json.loads(sluice("tenants", "list", "--json").stdout)] == ["team"]
    assert len(json.loads(sluice("keys", "list", "--json").stdout)) == 1
    assert sluice("restore", "none.tar", "--replace").exit_code == 1


def test_postgresql_works_the_same_and_its_password_is_not_shown(sluice, postgres_url, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SLUICE_DATABASE_URL", postgres_url)
    monkeypatch.setenv("SLUICE_SECRET", SECRET)
    done = sluice("tenants", "list")
    assert (done.exit_code, "run `sluice migrate`" in done.stderr) == (1, True)
    assert sluice("migrate").exit_code == 0
    done = sluice("tenants", "create", "team")
    assert (done.exit_code, str(Location(postgres_url)) in done.stderr) == (0, True)
    assert sluice("keys", "create", "team").stdout.startswith("sk-")
    assert "PostgreSQL" in sluice("backup", "b.tar").stderr
