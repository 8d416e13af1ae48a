"""The matrix in figures, after the tests that compared it."""

from __future__ import annotations

from collections import Counter

from tests.money.cells import CELLS, COLUMNS, Cell

CELL = "cell"
"""The property by which a test of the matrix names its cell."""


def pytest_terminal_summary(terminalreporter):
    reports = {
        outcome: [
            name
            for report in terminalreporter.getreports(outcome)
            for key, name in report.user_properties
            if key == CELL
        ]
        for outcome in ("passed", "failed", "xfailed", "xpassed")
    }
    compared = [name for names in reports.values() for name in names]
    if not compared:
        return
    possible = {
        f"{end}/{column}": it for end, row in CELLS.items() for column, it in zip(COLUMNS, row, strict=True)
    }
    equal = [*reports["passed"], *reports["xpassed"]]
    kinds = Counter(it.tokens for name in equal if isinstance(it := possible[name], Cell))
    terminalreporter.write_sep("-", "matrix of ends")
    terminalreporter.write_line(f"cells equal / compared: {len(equal)} / {len(compared)}  {dict(kinds)}")
    for name, it in possible.items():
        if not isinstance(it, Cell):
            terminalreporter.write_line(f"cannot be: {name}: {it}")
