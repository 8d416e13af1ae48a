"""Tenants, keys and usage on the command line: over a database, and over a gateway that runs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from app.cli import main
from app.simulator import Simulator
from app.store.audit import Audit
from app.store.migrate import migrate
from tests.house import DEFAULTS, running
from tests.stores import opened, usage_row


@dataclass
class Sluice:
    """The command, run in a thread of its own, with the environment of its backend."""

    where: str
    environ: dict[str, str]
    url: str

    async def __call__(self, *words: str, **fields: Any):
        done = await asyncio.to_thread(CliRunner(env=self.environ).invoke, main, words, **fields)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    async def told(self, *words: str) -> Any:
        """What it prints as JSON."""
        done = await self(*words, "--json")
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(params=["database", "gateway"])
async def sluice(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if request.param == "database":
        url = f"sqlite:///{tmp_path}/sluice.db"
        await asyncio.to_thread(migrate, url)
        environ = {"SLUICE_DATABASE_URL": url, "SLUICE_URL": ""}
        yield Sluice(f"using the database sqlite:///{tmp_path}/sluice.db", environ, url)
        return
    async with running([Simulator()], ops=True) as gateway:
        environ = {"SLUICE_URL": f"{gateway.ops_url}/", "SLUICE_ADMIN_TOKEN": DEFAULTS["admin_token"]}
        url = gateway.house.settings.database_url.get_secret_value()
        yield Sluice(f"asking the gateway at {gateway.ops_url}/", environ, url)


async def test_a_tenant_is_made_listed_shown_changed_and_deleted(sluice):
    done = await sluice("tenants", "create", "team", "--rpm", "5", "--models", "a,b", "--priority", "2")
    assert (done.exit_code, done.stderr) == (0, f"sluice: {sluice.where}\n")
    row = await sluice.told("tenants", "show", "team")
    assert (row["limits"]["requests_per_minute"], row["models"], row["priority"]) == (5, ["a", "b"], 2)
    assert row in await sluice.told("tenants", "list")
    assert row["id"] in (await sluice("tenants", "list")).stdout
    assert "requests_per_minute" in (await sluice("tenants", "show", row["id"])).stdout

    changed = await sluice.told("tenants", "update", "team", "--rpm", "none", "--tpm", "7", "--name", "crew")
    assert (changed["limits"]["requests_per_minute"], changed["limits"]["tokens_per_minute"]) == (None, 7)
    assert (changed["name"], changed["models"], changed["priority"]) == ("crew", ["a", "b"], 2)
    assert (await sluice.told("tenants", "update", "crew", "--models", "all"))["models"] is None
    assert (await sluice.told("tenants", "disable", "crew"))["disabled"] is True
    assert (await sluice.told("tenants", "enable", row["id"]))["disabled"] is False

    assert (await sluice("tenants", "delete", "crew")).stdout == f"deleted crew ({row['id']})\n"
    done = await sluice("tenants", "show", "crew")
    assert (done.exit_code, done.stderr.splitlines()[1]) == (1, "sluice: There is no tenant 'crew'.")


async def test_bursts_and_strictness_are_given_shown_exported_and_applied(sluice, tmp_path):
    made = await sluice.told(
        "tenants",
        "create",
        "team",
        "--rpm",
        "600",
        "--requests-burst",
        "5",
        "--tokens-burst",
        "9",
        "--strict",
    )
    assert (made["limits"]["requests_burst"], made["limits"]["tokens_burst"], made["strict"]) == (5, 9, True)
    shown = (await sluice("tenants", "show", "team")).stdout
    assert "requests_burst" in shown
    assert "strict" in shown
    exported = (await sluice("export")).stdout
    file = tmp_path / "tenants.yaml"
    file.write_text(exported)
    assert {"name": "team", "limits": {"requests_per_minute": 600, "requests_burst": 5, "tokens_burst": 9},
            "strict": True} in yaml.safe_load(exported)["tenants"]  # fmt: skip
    changed = await sluice.told("tenants", "update", "team", "--no-strict", "--requests-burst", "none")
    assert (changed["limits"]["requests_burst"], changed["strict"]) == (None, False)
    await sluice("apply", "-f", str(file))
    assert (await sluice("export")).stdout == exported
    applied = await sluice.told("apply", "-f", str(file))
    assert {step["action"] for step in applied} == {"keep"}


async def test_both_backends_show_the_same_fields(sluice):
    tenant = await sluice.told("tenants", "create", "team")
    assert list(tenant) == [
        "id", "name", "limits", "model_limits", "models", "priority", "strict", "disabled", "metadata",
        "created_at", "updated_at",
    ]  # fmt: skip
    await sluice("keys", "create", "team")
    (key,) = await sluice.told("keys", "list", "team")
    assert list(key) == [
        "tenant", "id", "tenant_id", "name", "prefix", "limits", "models", "metadata", "expires_at",
        "disabled", "created_at", "updated_at",
    ]  # fmt: skip


async def test_what_is_refused_is_one_plain_line(sluice):
    await sluice("tenants", "create", "team")
    done = await sluice("tenants", "create", "team")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"sluice: {sluice.where}",
        "sluice: A tenant named 'team' exists already.",
    ]
    done = await sluice("keys", "revoke", "key_none")
    assert (done.exit_code, done.stderr.splitlines()[1:]) == (1, ["sluice: There is no such key."])
    assert (await sluice("tenants", "update", "team")).exit_code == 2
    assert (await sluice("tenants", "create", "team2", "--rpm", "many")).exit_code == 2


async def test_a_key_is_made_once_and_its_secret_is_alone_on_stdout(sluice):
    await sluice("tenants", "create", "team")
    options = ("--name", "ci", "--expires", "30d", "--models", "a", "--tpm", "9")
    done = await sluice("keys", "create", "team", *options)
    secret = done.stdout.strip()
    assert done.stdout == f"{secret}\n"
    assert secret.startswith("sk-")
    (key,) = await sluice.told("keys", "list", "team")
    assert (key["name"], key["models"], key["limits"]["tokens_per_minute"]) == ("ci", ["a"], 9)
    assert key["expires_at"] - key["created_at"] == pytest.approx(30 * 86400, abs=60)
    assert secret.startswith(key["prefix"])
    assert secret not in json.dumps(await sluice.told("keys", "list"))


async def test_a_key_is_disabled_rotated_and_revoked(sluice):
    await sluice("tenants", "create", "team")
    made = await sluice.told("keys", "create", "team")
    assert (await sluice("keys", "disable", made["id"])).stdout == f"disabled {made['id']}\n"
    assert "disabled" in (await sluice("keys", "list", "team")).stdout
    await sluice("keys", "enable", made["id"])
    rotated = await sluice.told("keys", "rotate", made["id"], "--overlap", "10m")
    assert rotated["id"] == made["id"]
    assert rotated["secret"] != made["secret"]
    assert (await sluice("keys", "revoke", made["id"])).exit_code == 0
    assert await sluice.told("keys", "list", "team") == []


async def test_apply_makes_the_tenants_what_the_file_says_and_is_idempotent(sluice, tmp_path):
    await sluice("tenants", "create", "old", "--rpm", "5", "--priority", "3")
    await sluice("tenants", "create", "extra")
    file = tmp_path / "tenants.yaml"
    file.write_text("""
tenants:
  - {name: old, limits: {tokens_per_day: 9}, model_limits: {m: {concurrency: 2}}}
  - {name: new, models: [a], metadata: {cost centre: 7}}
""")
    plan = await sluice.told("apply", "-f", str(file), "--dry-run")
    assert [(row["tenant"], row["action"]) for row in plan] == [("old", "update"), ("new", "create")]
    assert "limits.requests_per_minute: 5 -> None" in plan[0]["changes"]
    assert "new" not in [row["name"] for row in await sluice.told("tenants", "list")]

    assert await sluice.told("apply", "-f", str(file)) == plan
    again = await sluice.told("apply", "-f", str(file))
    assert [row["action"] for row in again] == ["keep", "keep"]
    exported = yaml.safe_load((await sluice("export")).stdout)
    assert {"name": "new", "models": ["a"], "metadata": {"cost centre": 7}} in exported["tenants"]
    assert await sluice.told("export") == exported

    file.write_text("tenants: [{name: old}]")
    pruned = await sluice.told("apply", "-f", str(file), "--prune")
    assert {"tenant": "extra", "action": "delete", "changes": []} in pruned
    (left,) = await sluice.told("tenants", "list")
    assert (left["name"], left["model_limits"], left["priority"]) == ("old", {}, 0)


async def test_every_change_is_audited_without_secrets(sluice):
    await sluice("tenants", "create", "team")
    made = await sluice.told("keys", "create", "team")
    rotated = await sluice.told("keys", "rotate", made["id"])
    await sluice("keys", "disable", made["id"])
    await sluice("keys", "revoke", made["id"])
    await sluice("tenants", "update", "team", "--rpm", "5")
    await sluice("tenants", "delete", "team")
    async with opened(sluice.url, migrated=False) as stores:
        rows = (await Audit(stores.database, stores.clock).page()).rows
    assert [row.action for row in reversed(rows)] == [
        "tenant.create", "key.create", "key.rotate", "key.update", "key.revoke", "tenant.update", "tenant.delete",
    ]  # fmt: skip
    assert all(row.actor and row.origin for row in rows)
    limits = {
        name: row.detail[name]["limits"]["requests_per_minute"] for row in [rows[1]] for name in row.detail
    }
    assert limits == {"before": None, "after": 5}
    told = str(rows)
    assert made["secret"] not in told
    assert rotated["secret"] not in told


async def test_usage_is_summed_by_group(sluice):
    assert (await sluice("usage")).stderr.splitlines()[1] == "Nothing was used."
    assert (await sluice("usage", "--group-by", "colour")).exit_code == 2
    assert await sluice.told("usage", "--from", "7d", "--to", "2999-01-01") == []
    (total,) = await sluice.told("usage", "--group-by", "")
    assert total["requests"] == 0
    assert (await sluice("usage", "--tenant", "nobody")).exit_code == 1


async def test_rows_and_balances_come_from_either(sluice):
    async with opened(sluice.url, migrated=False) as stores:
        await stores.rows.write(
            [usage_row("a", endpoint="gpu-x"), usage_row("b", endpoint="gpu-x", model="n")]
        )
    done = await sluice("usage", "calls", "--model", "n", "--format", "csv")
    assert done.stdout.splitlines()[1].startswith("b,")
    done = await sluice("usage", "calls", "--from", "nonsense")
    assert done.exit_code == 2
    (row,) = await sluice.told(
        "reconcile", "--endpoint", "gpu-x", "--from", "2026-11-18T00:00", "--to", "2026-11-19T00:00"
    )
    assert (row["verdict"], row["completion_tokens"]) == ("unknown", 40)
