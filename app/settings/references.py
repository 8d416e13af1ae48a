"""Values kept elsewhere: `env:NAME` is a variable, `file:PATH` the content of a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


class References:
    """Looks up references; a path is relative to `folder`, a final line break of a file is not content."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = environ
        self._folder = folder

    def resolve(self, text: str) -> str:
        """`text` itself when it is no reference. Raises ValueError with a plain message."""
        variable = _VARIABLE.fullmatch(text)
        if variable:
            value = self._environ.get(variable[1], "")
            if not value:
                raise ValueError(f"the environment variable {variable[1]} is not set")
            return value
        if text.startswith("file:"):
            path = self._folder / Path(text.removeprefix("file:")).expanduser()
            try:
                return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
                raise ValueError(f"the file {path} cannot be read: {reason}") from error
        return text
