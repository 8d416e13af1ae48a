from __future__ import annotations

import click
import pytest

from app.cli.failure import Failed, plainly
from app.core.errors import NotFound
from app.settings import ConfigError, Problem
from app.store.refusal import StoreRefusal


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (StoreRefusal("No database."), ["No database."]),
        (NotFound("There is no such key."), ["There is no such key."]),
        (ConfigError([Problem("a", "is wrong"), Problem("b", "too")]), ["a: is wrong", "b: too"]),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), ["x.csv: No such file or directory"]),
        (OSError(98, "Address already in use"), ["Address already in use"]),
        (OSError("odd"), ["odd"]),
    ],
)
def test_what_an_operator_can_mend_is_a_plain_line_each(error, lines, capsys):
    with pytest.raises(Failed) as caught, plainly():
        raise error
    caught.value.show()
    assert capsys.readouterr().err.splitlines() == [f"sluice: {line}" for line in lines]
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    "error", [click.UsageError("x"), click.Abort(), BrokenPipeError(), ZeroDivisionError()]
)
def test_what_is_clicks_own_or_a_bug_stays_what_it_is(error):
    with pytest.raises(type(error)) as caught, plainly():
        raise error
    assert caught.value is error
