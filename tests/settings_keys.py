"""Every key of a configuration with its default, read off the schema; files that list keys are compared with it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from app.core.units import parse_duration, parse_size
from app.settings.shape import names
from app.settings.tree import Settings

_SECONDS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_BYTES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


class Key(NamedTuple):
    """`path` holds [] where rows follow and <name> where names do; `default` is as one would write it."""

    path: str
    default: str

    @property
    def variable(self) -> str:
        return "SLUICE_" + self.path.replace(".", "__").upper()


def keys(model: type[BaseModel] = Settings, prefix: str = "") -> list[Key]:
    """In the order of the schema; a section stands for its keys, rows for themselves and their keys."""
    found: list[Key] = []
    for kept, info in dict(names(model).values()).items():
        path = prefix + kept
        inner, mark = _model_in(info.annotation)
        if inner is None or mark:
            found.append(Key(path, _written(info)))
        if inner is not None:
            found += keys(inner, f"{path}{mark}.")
    return found


def _model_in(kind: Any) -> tuple[type[BaseModel] | None, str]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind, ""
    marks = {tuple: "[]", dict: ".<name>"}
    for argument in get_args(kind):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument, marks.get(get_origin(kind), "")
    return None, ""


def _written(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    readers = [getattr(note, "func", None) for note in info.metadata]
    if parse_duration in readers and value is not None:
        return _in_units(value, _SECONDS)
    if parse_size in readers:
        return _in_units(value, _BYTES)
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _in_units(value: float, units: tuple[tuple[str, int], ...]) -> str:
    for unit, size in units:
        if value and value % size == 0:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
