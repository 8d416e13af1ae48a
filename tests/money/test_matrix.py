"""Every kind of end, asked for in every way: the ledger's row is the simulator's own account of the call."""

from __future__ import annotations

import pytest

from tests.money.cells import CELLS, COLUMNS, Cell, cell
from tests.money.conftest import CELL
from tests.money.killed import killed
from tests.money.scenes import played

POSSIBLE = [(end, column) for end in CELLS for column in COLUMNS if isinstance(cell(end, column), Cell)]


@pytest.mark.parametrize(("end", "column"), POSSIBLE, ids=lambda word: word.replace(" ", "-"))
async def test_row_of_every_end_is_the_simulators_own_account(end, column, record_property, tmp_path):
    record_property(CELL, f"{end}/{column}")
    account = await (killed(column, tmp_path) if end == "gateway killed" else played(end, column))
    assert account.differences(cell(end, column)) == []


def test_every_cell_is_either_stated_or_impossible_for_a_reason():
    assert {len(row) for row in CELLS.values()} == {len(COLUMNS)}
    reasons = [cell(end, column) for end in CELLS for column in COLUMNS if (end, column) not in POSSIBLE]
    assert all(isinstance(reason, str) and len(reason.split()) > 5 for reason in reasons)
    print(f"{len(POSSIBLE)} cells of {len(CELLS) * len(COLUMNS)}; {len(reasons)} cannot exist")
