"""Values kept elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings.references import References


def test_plain_text_stays():
    assert References({}, Path()).resolve("environment: x") == "environment: x"


def test_a_variable_is_looked_up():
    assert References({"KEY": "s"}, Path()).resolve("env:KEY") == "s"


def test_an_unset_variable_is_named():
    with pytest.raises(ValueError, match="variable KEY is not set"):
        References({"KEY": ""}, Path()).resolve("env:KEY")


def test_a_file_is_read_beside_the_configuration_without_its_last_line_break(tmp_path):
    (tmp_path / "key").write_text("s e c\r\n")
    assert References({}, tmp_path).resolve("file:key") == "s e c"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none cannot be read: No such file"):
        References({}, tmp_path).resolve("file:none")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "key").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="not UTF-8 text"):
        References({}, tmp_path).resolve("file:key")
