"""sluice reconcile: what the engines say they made, against what the ledger holds of it."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from app.cli.backend import Backend, Document, ask, which_usage
from app.cli.options import Duration, config_option, json_option
from app.cli.tables import show, when

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from app.cli.tables import Columns


@click.command()
@click.option("--endpoint", help="Only this one.")
@click.option("--from", "start", metavar="WHEN", help="2026-11-01, or 7d: the last seven days; else one day.")
@click.option("--to", "end", metavar="WHEN", help="Until then.")
@click.option("--step", type=Duration(), help="A balance for each such span, as 1h; else one for all.")
@config_option
@json_option
@click.pass_context
def reconcile(
    ctx: click.Context,
    /,
    config: Path | None,
    as_json: bool,
    endpoint: str | None,
    start: str | None,
    end: str | None,
    step: float | None,
) -> None:
    """Compare the ledger with the engines' own counters, by whole quarters of an hour.

    A gap is what the engine counted more than the ledger: others use it too. Less than the ledger holds,
    by more than calls under way explain, is `overbooked`, and the exit code 1.

    Example: sluice reconcile --from 7d --step 24h
    """

    async def asked(backend: Backend) -> list[Document]:
        which = await which_usage(backend, start=start, end=end, endpoint=endpoint or None)
        return await backend.reconcile(which | ({"step": step} if step else {}))

    rows = ask(config, asked)
    show(rows, _COLUMNS, as_json=as_json, none="No endpoint was looked at.")
    if any(row["verdict"] == "overbooked" for row in rows):
        ctx.exit(1)


def _gap(kind: str) -> Any:
    def shown(row: Mapping[str, Any]) -> str:
        gap, most = row[f"{kind}_gap"], row[f"{kind}_tolerance"]
        return "" if gap is None else f"{gap:+,}" + (f" ±{most:,}" if most else "")

    return shown


_COLUMNS: Columns = {
    "endpoint": itemgetter("endpoint"),
    "from": lambda row: when(row["start"]),
    "to": lambda row: when(row["end"]),
    "prompt": itemgetter("prompt_tokens"),
    "engine's": itemgetter("engine_prompt_tokens"),
    "gap": _gap("prompt"),
    "completion": itemgetter("completion_tokens"),
    "engine's ": itemgetter("engine_completion_tokens"),
    "gap ": _gap("completion"),
    "wasted": itemgetter("wasted_tokens"),
    "restarts": itemgetter("restarts"),
    "verdict": itemgetter("verdict"),
}
