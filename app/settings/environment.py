"""SLUICE_ variables as nested dictionaries, without those that only look like ours."""

from __future__ import annotations

import logging
import re
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import yaml

from app.settings.documents import parse_yaml
from app.settings.problems import dotted

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

PREFIX = "SLUICE_"
COMMAND_LINE = frozenset({"SLUICE_CONFIG", "SLUICE_URL"})

_LINK_NAME = re.compile(
    r"SLUICE_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)"
)
_LINK_PORT = re.compile(r"SLUICE_(?:[A-Z0-9_]+_)?PORT")
_LINK_VALUE = re.compile(r"(?:tcp|udp|sctp)://")


def is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes set this variable because a Service is called sluice or sluice-something."""
    if _LINK_NAME.fullmatch(name):
        return True
    return _LINK_PORT.fullmatch(name) is not None and _LINK_VALUE.match(value) is not None


def layer(environ: Mapping[str, str]) -> dict[str, Any]:
    """`SLUICE_SERVER__PORT=1` becomes {"server": {"port": "1"}}; an empty value counts as unset.

    A value that begins with [ or { is read as JSON (or YAML's flow form). Shorter names come first, so
    that a whole section given as JSON can be refined by a variable of its own.
    """
    tree: dict[str, Any] = {}
    for name, value in sorted(environ.items(), key=lambda item: (item[0].count("__"), item[0])):
        if not name.startswith(PREFIX) or name in COMMAND_LINE or not value:
            continue
        if is_service_link(name, value):
            logger.warning("ignored %s: a service link of Kubernetes, not a setting", name)
            continue
        *sections, key = name.removeprefix(PREFIX).lower().split("__")
        node = tree
        for section in sections:
            inner = node.setdefault(section, {})
            if not isinstance(inner, dict):
                inner = node[section] = {}
            node = inner
        node[key] = _read(value)
    return tree


def spelled(path: tuple[str | int, ...]) -> str:
    """The variable that a key path belongs to, with the place inside its value."""
    steps = list(takewhile(lambda step: isinstance(step, str), path))
    inside = path[len(steps) :]
    return PREFIX + "__".join(map(str, steps)).upper() + dotted(inside)


def _read(value: str) -> Any:
    if value[0] not in "[{":
        return value
    try:
        return parse_yaml(value)
    except yaml.YAMLError:
        return value
