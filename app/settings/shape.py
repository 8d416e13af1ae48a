"""Brings a nested dictionary to the schema's own spelling, and names every key the schema does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from app.settings.problems import Problem, dotted, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Partial:
    """Annotates a mapping that may give any of a model's fields, and needs none."""

    model: type[BaseModel]


def names(model: type[BaseModel]) -> dict[str, tuple[str, FieldInfo]]:
    """Every accepted spelling of a model's keys, with the one spelling we keep and its field."""
    table: dict[str, tuple[str, FieldInfo]] = {}
    by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
    for name, info in model.model_fields.items():
        aliases = _aliases(info)
        accepted = [name, *aliases] if by_name or not aliases else aliases
        kept = name if name in accepted else accepted[0]
        table |= dict.fromkeys(accepted, (kept, info))
    return table


def _aliases(info: FieldInfo) -> list[str]:
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        return [choice for choice in alias.choices if isinstance(choice, str)]
    return [alias] if isinstance(alias, str) else []


@dataclass(slots=True)
class Shaper:
    """Walks one layer; what it finds wrong is collected in `problems`.

    `spelled` turns a key path into the words of the layer, `resolve` replaces a reference by its value.
    """

    resolve: Callable[[str], str]
    spelled: Callable[[Path], str] = dotted
    problems: list[Problem] = field(default_factory=list)

    def shape(self, kind: Any, value: Any, path: Path = ()) -> Any:
        """`value`, of which the schema says it is a `kind`."""
        kind = _bare(kind)
        if isinstance(value, Mapping):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                return self._section(kind, value, path)
            inner = get_args(kind)[1] if len(get_args(kind)) == 2 else Any
            return {str(key): self.shape(inner, item, (*path, str(key))) for key, item in value.items()}
        if isinstance(value, list):
            inner = (get_args(kind) or (Any,))[0]
            return [self.shape(inner, item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, str):
            return self._leaf(value, path)
        return value

    def _section(self, model: type[BaseModel], value: Mapping[Any, Any], path: Path) -> dict[str, Any]:
        table = names(model)
        shaped: dict[str, Any] = {}
        for raw, item in value.items():
            key = str(raw) if str(raw) in table else str(raw).replace("-", "_")
            if key not in table:
                self.problems.append(
                    Problem(self.spelled((*path, str(raw))), "unknown key" + nearest(key, table))
                )
                continue
            kept, info = table[key]
            if kept in shaped:
                self.problems.append(
                    Problem(self.spelled((*path, str(raw))), f"is another word for {kept}, given twice")
                )
                continue
            shaped[kept] = self.shape(_kind(info), item, (*path, kept))
        return shaped

    def _leaf(self, value: str, path: Path) -> str:
        try:
            return self.resolve(value)
        except ValueError as error:
            self.problems.append(Problem(self.spelled(path), str(error)))
            return ""


def _kind(info: FieldInfo) -> Any:
    partial = next((note for note in info.metadata if isinstance(note, Partial)), None)
    return partial.model if partial else info.annotation


def _bare(kind: Any) -> Any:
    """Without Annotated and Optional."""
    if get_origin(kind) is Annotated:
        partial = next((note for note in kind.__metadata__ if isinstance(note, Partial)), None)
        return partial.model if partial else _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        choices = [choice for choice in get_args(kind) if choice is not NoneType]
        return _bare(choices[0]) if len(choices) == 1 else Any
    return kind
