"""Tenants as a file declares them, and the steps from what is there to that. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ValidationError

from app.admin.schemas import TenantNew
from app.core.tenant import UNLIMITED
from app.settings import ConfigError, Problem
from app.settings.problems import dotted, of_validation
from app.settings.shape import Shaper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from app.cli.backend import Document

Action = Literal["create", "update", "delete", "keep"]

_LIMITS = asdict(UNLIMITED)
_FIELDS: Document = {
    "limits": _LIMITS,
    "model_limits": {},
    "models": None,
    "priority": 0,
    "strict": False,
    "disabled": False,
    "metadata": {},
}


class Declaration(BaseModel, frozen=True, extra="forbid"):
    """A whole file; a field that is left out has its default."""

    tenants: tuple[TenantNew, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """`fields` are those of a new tenant, or what changes of one: old and new value by name."""

    action: Action
    name: str
    tenant_id: str = ""
    fields: Mapping[str, Any] | None = None
    changes: Mapping[str, tuple[Any, Any]] | None = None


def read_declaration(document: Mapping[str, Any]) -> list[Document]:
    """Every tenant with all its fields. Raises ConfigError."""
    shaper = Shaper(lambda text: text)
    shaped = shaper.shape(Declaration, document)
    if shaper.problems:
        raise ConfigError(shaper.problems)
    try:
        declaration = Declaration(**shaped)
    except ValidationError as error:
        raise ConfigError(
            Problem(dotted(where), message) for where, message in of_validation(error)
        ) from None
    rows = [{"name": tenant.name, **_whole(tenant.sent())} for tenant in declaration.tenants]
    names = [row["name"] for row in rows]
    twice = [
        Problem(f"tenants[{place}].name", f"{name!r} is given twice")
        for place, name in enumerate(names)
        if name in names[:place]
    ]
    if twice:
        raise ConfigError(twice)
    return rows


def steps(declared: Sequence[Document], present: Iterable[Document], *, prune: bool) -> list[Step]:
    """In the file's order; with `prune`, those that the file does not name are deleted at the end."""
    known = {row["name"]: row for row in present}
    taken: list[Step] = []
    for wanted in declared:
        row = known.pop(wanted["name"], None)
        taken.append(Step("create", wanted["name"], fields=wanted) if row is None else _update(row, wanted))
    if prune:
        taken += [Step("delete", name, row["id"]) for name, row in known.items()]
    return taken


def patch(step: Step) -> Document:
    """What the admin REST is sent for an update; a model that lost its limits is lifted."""
    fields = {name: new for name, (_, new) in (step.changes or {}).items()}
    if "model_limits" in fields:
        old, new = (step.changes or {})["model_limits"]
        fields["model_limits"] = dict.fromkeys(old, None) | new
    return fields


def declaration_of(rows: Iterable[Document]) -> Document:
    """The file that declares these tenants, without what is a default."""
    return {"tenants": [{"name": row["name"], **_said(_whole(row))} for row in rows]}


def _update(row: Document, wanted: Document) -> Step:
    present = _whole(row)
    changes = {name: (present[name], wanted[name]) for name in _FIELDS if present[name] != wanted[name]}
    return Step("update" if changes else "keep", row["name"], row["id"], changes=changes)


def _whole(row: Mapping[str, Any]) -> Document:
    """All fields, None standing for the default."""
    fields = {name: default if row.get(name) is None else row[name] for name, default in _FIELDS.items()}
    by_model = {model: _LIMITS | (limits or {}) for model, limits in fields["model_limits"].items()}
    return fields | {
        "limits": _LIMITS | fields["limits"],
        "model_limits": {model: limits for model, limits in by_model.items() if limits != _LIMITS},
    }


def _said(fields: Document) -> Document:
    limits = {name: value for name, value in fields["limits"].items() if value is not None}
    by_model = {
        model: {name: value for name, value in each.items() if value is not None}
        for model, each in fields["model_limits"].items()
    }
    shown = fields | {"limits": limits or _LIMITS, "model_limits": by_model}
    return {name: value for name, value in shown.items() if value != _FIELDS[name]}
