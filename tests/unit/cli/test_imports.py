from __future__ import annotations

import hashlib

import pytest

from app.cli.failure import Failed
from app.cli.imports import Import, read_imports

HASHED = hashlib.sha256(b"sk-from-litellm").digest()


def test_a_heading_names_the_columns():
    lines = [
        "tenant, secret, name, models, expires_at\n",
        "team-a, sk-plain-1, ci, a;b, 2027-01-01\n",
        "\n",
        "# a comment\n",
        f"team-b, {HASHED.hex().upper()},,,\n",
    ]
    assert read_imports(lines, None) == [
        Import(2, "team-a", "sk-plain-1", {"name": "ci", "models": ["a", "b"], "expires_at": "2027-01-01"}),
        Import(5, "team-b", HASHED, {}),
    ]


def test_without_a_heading_each_line_is_a_secret():
    rows = read_imports(["sk-plain-1\n", f"{HASHED.hex()}\n"], "team-a")
    assert [(row.tenant, row.secret) for row in rows] == [("team-a", "sk-plain-1"), ("team-a", HASHED)]


def test_a_line_may_name_another_tenant_than_the_common_one():
    rows = read_imports(["secret,tenant\n", "sk-plain-1,\n", "sk-plain-2,team-b\n"], "team-a")
    assert [row.tenant for row in rows] == ["team-a", "team-b"]


def test_every_wrong_line_is_named_and_no_secret_is_repeated():
    lines = ["secret,tenant\n", "short,a\n", "sk-with space,a\n", "sk-no-tenant,\n", "sk-too-many,a,b\n"]
    with pytest.raises(Failed) as caught:
        read_imports(lines, None)
    said = caught.value.message.splitlines()
    assert [line.partition(":")[0] for line in said] == ["line 2", "line 3", "line 4", "line 5"]
    assert said[3] == "line 5: has not 2 columns"
    assert "sk-" not in caught.value.message


def test_an_unknown_column_is_named():
    with pytest.raises(Failed, match="unknown column 'team'"):
        read_imports(["secret,team\n"], None)
