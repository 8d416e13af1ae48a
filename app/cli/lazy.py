"""A group of commands that imports each of them on its first use, and turns failures into plain lines."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from app.cli.failure import plainly

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


UNUSED = ("pygments", "redis", "rich")
"""What httpx and pybreaker load, where it is installed, for uses of theirs that no gateway makes."""

HOLLOW = ("sqlalchemy.ext.asyncio.scoping", "sqlalchemy.ext.asyncio.session")
"""What loads the object-relational mapper for whoever wants no more than SQLAlchemy's connections."""

SERVING = frozenset({"serve", "demo"})
"""Commands that run a gateway: whoever restarts one waits for it, and it keeps in memory what it loads."""


class Hollow(ModuleType):
    """Every public name that is imported from it is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)


@contextmanager
def loading(*, lean: bool = True) -> Iterator[None]:
    """For imports: looking for garbage among what they make, which stays, takes a tenth of their time.

    `lean`: what serving does not need is not found or empty meanwhile, unless it was loaded before.
    """
    hidden: dict[str, Any] = {}
    if lean:
        hidden = {**dict.fromkeys(UNUSED), **{name: Hollow(name) for name in HOLLOW}}  # None is not found
        hidden = {name: module for name, module in hidden.items() if name not in sys.modules}
    sys.modules.update(hidden)
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
        with loading(lean=cmd_name in SERVING):
            command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def invoke(self, ctx: click.Context) -> Any:
        with plainly():
            return super().invoke(ctx)
