"""The settings for people: with secrets masked, as a schema, and as the difference of two."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import SecretStr

from app.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_PASSWORD = re.compile(r"(?<=://)([^/@]*):[^/@]*@")
_QUERIED = re.compile(r"(?<=[?&]password=)[^&]*")


class Change(NamedTuple):
    """One key that differs; rows with a name are compared by name. None: not there."""

    path: str
    old: Any
    new: Any


def masked(settings: Settings) -> dict[str, Any]:
    """The effective configuration as JSON values; of URLs only the password is hidden."""
    shown = settings.model_dump(mode="json", by_alias=True)
    shown["database_url"] = _without_password(settings.database_url)
    if settings.redis_url is not None:
        shown["redis_url"] = _without_password(settings.redis_url)
    shown["vllm_endpoints"] = [_spoken(row) for row in shown["vllm_endpoints"]]
    shown["model_config"] = {name: _spoken(row) for name, row in shown["model_config"].items()}
    return shown


def schema() -> dict[str, Any]:
    """JSON Schema of a configuration file."""
    return Settings.model_json_schema(by_alias=True)


def diff(old: Settings, new: Settings) -> list[Change]:
    """What differs, secrets compared but not shown."""
    before, after = (dict(_leaves(one.model_dump(by_alias=True), "")) for one in (old, new))
    return [
        Change(path, _shown(before.get(path)), _shown(after.get(path)))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def _spoken(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the keys that say nothing."""
    return {key: value for key, value in row.items() if value not in (None, {}, [])}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if (
        isinstance(value, list | tuple)
        and value
        and all(isinstance(row, dict) and "name" in row for row in value)
    ):
        value = {row["name"]: row for row in value}
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return _without_password(value) if "://" in value.get_secret_value() else str(value)
    return value


def _without_password(url: SecretStr) -> str:
    return _QUERIED.sub("***", _PASSWORD.sub(r"\1:***@", url.get_secret_value()))
