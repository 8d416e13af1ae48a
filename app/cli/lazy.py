"""A group of commands that imports each of them on its first use, and turns failures into plain lines."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from app.cli.failure import plainly

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


UNUSED = ("redis", "rich")
"""What httpx and pybreaker load, where it is installed, for uses of theirs that no gateway makes."""

SERVING = frozenset({"serve", "demo"})
"""Commands that run a gateway: whoever restarts one waits for it, and it keeps in memory what it loads."""


@contextmanager
def loading(absent: Sequence[str] = ()) -> Iterator[None]:
    """For imports: looking for garbage among what they make, which stays, takes a tenth of their time.

    Packages that are `absent` are not found meanwhile, unless they were loaded before.
    """
    hidden = [name for name in absent if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: importing it fails
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for name in hidden:
            del sys.modules[name]


class LazyGroup(click.Group):
    """`lazy`: name -> (`module:attribute`, one line of help), in the order of the help page."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        with loading(UNUSED if cmd_name in SERVING else ()):
            command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def invoke(self, ctx: click.Context) -> Any:
        with plainly():
            return super().invoke(ctx)
