"""What went wrong, said in plain lines on stderr; never a traceback."""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator


class Failed(click.ClickException):
    """Ends the command with exit code 1; every line of the message becomes one of its own."""

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines():
            say(line)


def say(line: str) -> None:
    """One line on stderr, beside what the command prints."""
    click.echo(f"sluice: {line}", err=True)


@contextmanager
def plainly() -> Iterator[None]:
    """Turns the failures an operator can do something about into Failed; a bug stays what it is."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except _expected() as error:
        raise Failed(_said(error)) from None


def _expected() -> tuple[type[Exception], ...]:
    """Evaluated only when something was raised: whatever knows these classes is imported by then."""
    from app.core.errors import GatewayError
    from app.settings import ConfigError
    from app.store.refusal import StoreRefusal

    return (ConfigError, StoreRefusal, GatewayError, OSError)


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
