"""What is measured, and where it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__ as bench


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Measures nothing; returns what was wanted, and where curves were drawn."""
    wanted, drawn = [], []
    monkeypatch.setattr(bench, "measure", lambda rows, effort, found: wanted.extend(row.name for row in rows))
    monkeypatch.setattr(bench, "picture", lambda found, to: drawn.append(to))

    def run(*words):
        monkeypatch.setattr("sys.argv", ["bench", "--json", str(tmp_path / "found.json"), *words])
        bench.main()
        assert (tmp_path / "found.json").exists()
        return wanted, drawn

    return run


def test_all_of_it_is_drawn(run):
    wanted, drawn = run()
    assert wanted == [row.name for row in bench.ALL]
    assert drawn == [bench.CURVES]


@pytest.mark.parametrize("words", [("json-64",), ("--quick",)], ids=["a part", "a look"])
def test_less_does_not_replace_the_curves(run, words):
    assert run(*words)[1] == []


def test_curves_go_where_they_are_asked_for(run):
    wanted, drawn = run("json-64", "json-1", "--png", "here.png")
    assert wanted == ["json-1", "json-64"]
    assert drawn == [Path("here.png")]


def test_without_matplotlib_a_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    bench.picture({}, Path("curves.png"))
    assert capsys.readouterr().err == "curves.png is not drawn: that needs matplotlib\n"


def test_an_unknown_name_is_told(capsys):
    with pytest.raises(SystemExit):
        bench.arguments(["json-65"])
    assert "there is no json-65" in capsys.readouterr().err
