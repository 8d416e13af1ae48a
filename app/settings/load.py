"""Makes the settings of a process: defaults, under the file, under the environment, under the flags."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from app.settings import checks, environment
from app.settings.dialects import translate
from app.settings.documents import read
from app.settings.layers import merged
from app.settings.problems import ConfigError, Problem, dotted, of_validation
from app.settings.references import References
from app.settings.shape import Shaper
from app.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

DEFAULT_FILE = Path("sluice.yaml")


def load(
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    yes_open: bool = False,
    workers: int = 1,
) -> Settings:
    """The checked configuration. Raises ConfigError with everything found wrong in the first bad stage.

    `config`: else SLUICE_CONFIG, else ./sluice.yaml where it exists. `flags` is nested like the file; a
    flag that is None was not given. `workers` is how many processes share this configuration. Keys that mean nothing here are logged and left out.
    """
    environ = os.environ if environ is None else environ
    path = config or _found(environ)
    refused: list[Problem] = []
    folder = path.parent if path else Path()
    layers = [
        _shaped(read(path) if path else {}, References(environ, folder), refused),
        _shaped(environment.layer(environ), References(environ, Path()), refused, environment.spelled),
        _shaped(_given(flags or {}), References(environ, Path()), refused),
    ]
    if refused:
        raise ConfigError(refused)
    try:
        settings = Settings(**merged(*layers))
    except ValidationError as error:
        raise ConfigError(
            Problem(dotted(where), message) for where, message in of_validation(error)
        ) from None
    found = list(checks.problems(settings, yes_open=yes_open, workers=workers))
    if found:
        raise ConfigError(found)
    for name, model in settings.models.items():
        if model.reasoning_family is not None:
            logger.warning("model_config.%s.reasoning_family is known, but nothing acts on it yet", name)
    return settings


def _found(environ: Mapping[str, str]) -> Path | None:
    named = environ.get("SLUICE_CONFIG")
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _shaped(
    layer: dict[str, Any],
    references: References,
    refused: list[Problem],
    spelled: Callable[[tuple[str | int, ...]], str] = dotted,
) -> dict[str, Any]:
    shaper = Shaper(references.resolve, spelled)
    shaped: dict[str, Any] = shaper.shape(Settings, translate(layer))
    refused += shaper.problems
    return shaped


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _given(value) if isinstance(value, dict) else value
        for name, value in flags.items()
        if value is not None
    }
