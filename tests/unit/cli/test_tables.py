from __future__ import annotations

import json

from app.cli.tables import names, show, when

COLUMNS = {"name": lambda row: row["name"], "count": lambda row: row["count"]}


def test_a_file_gets_every_row_on_one_line(capsys):
    show([{"name": "n" * 200, "count": 1234567}], COLUMNS, as_json=False, none="")
    assert f"{'n' * 200}   1,234,567" in capsys.readouterr().out


def test_json_is_the_rows_as_they_are(capsys):
    rows = [{"name": "é", "count": None, "more": [1]}]
    show(rows, COLUMNS, as_json=True, none="")
    out = capsys.readouterr().out
    assert json.loads(out) == rows
    assert "é" in out


def test_no_rows_are_an_empty_list_or_a_word_on_stderr(capsys):
    show([], COLUMNS, as_json=True, none="nothing")
    assert json.loads(capsys.readouterr().out) == []
    show([], COLUMNS, as_json=False, none="nothing")
    assert capsys.readouterr() == ("", "nothing\n")


def test_markup_in_a_name_is_text(capsys):
    show([{"name": "[red]x[/red]", "count": 1}], COLUMNS, as_json=False, none="")
    assert "[red]x[/red]" in capsys.readouterr().out


def test_moments_and_models_are_written_for_people():
    assert (when(0.0), when(None)) == ("1970-01-01 00:00Z", "")
    assert (names(None), names([]), names(["a", "b"])) == ("all", "none", "a, b")
