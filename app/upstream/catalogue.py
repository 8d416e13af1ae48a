"""Which models an endpoint serves: fixed by its spec or learnt from its own list, less what it refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from app.core.failures import EndpointRefused, ModelMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from app.core.failures import EndpointError


class ModelCard(TypedDict, total=False):
    """vLLM's own entry of a model, as far as callers are shown it."""

    created: int
    owned_by: str
    root: str
    parent: str | None
    max_model_len: int


class _Row(msgspec.Struct):
    id: str
    created: Any = None
    owned_by: Any = None
    root: Any = None
    parent: Any = None
    max_model_len: Any = None


class _Listing(msgspec.Struct):
    data: list[_Row]


_DECODER = msgspec.json.Decoder(_Listing)


def parse_models(body: bytes) -> dict[str, ModelCard]:
    """Id -> card of a `/v1/models` answer. Raises ValueError when it is none."""
    try:
        rows = _DECODER.decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("not a list of models") from error
    return {row.id: _card(row) for row in rows}


def _card(row: _Row) -> ModelCard:
    card = ModelCard(
        created=row.created if isinstance(row.created, int) else 0,
        owned_by=row.owned_by if isinstance(row.owned_by, str) else "vllm",
        root=row.root if isinstance(row.root, str) else row.id,
        parent=row.parent if isinstance(row.parent, str) else None,
    )
    if isinstance(row.max_model_len, int):
        card["max_model_len"] = row.max_model_len
    return card


def merged(cards: Iterable[ModelCard]) -> ModelCard:
    """One card for a model that several endpoints serve: the oldest, with the shortest context."""
    ordered = sorted(cards, key=lambda card: card.get("created") or float("inf"))
    if not ordered:
        return ModelCard()
    card = ordered[0].copy()
    lengths = [other["max_model_len"] for other in ordered if "max_model_len" in other]
    if lengths:
        card["max_model_len"] = min(lengths)
    return card


class Catalogue:
    """Public names of one endpoint. `known` is False until it is fixed or was learnt."""

    def __init__(self, fixed: Mapping[str, str] | None) -> None:
        self._fixed = fixed
        self._cards: dict[str, ModelCard] = {}
        self._marks: dict[str, tuple[float, type[EndpointError]]] = {}
        self.known = fixed is not None

    def fix(self, models: Mapping[str, str] | None) -> None:
        """Take another spec's models; what was learnt stays."""
        self._fixed = models
        self.known = models is not None or bool(self._cards)

    def names(self) -> frozenset[str]:
        """Public names, marked ones included."""
        return frozenset(self._cards if self._fixed is None else self._fixed)

    def usable(self) -> list[str]:
        """Served names of the models it did not refuse."""
        return [self.served(name) for name in sorted(self.names()) if name not in self._marks]

    def served(self, model: str) -> str:
        """The name under which the endpoint knows a public name."""
        return model if self._fixed is None else self._fixed.get(model, model)

    def card(self, model: str) -> ModelCard | None:
        return self._cards.get(self.served(model))

    def learn(self, cards: Mapping[str, ModelCard], started: float) -> bool:
        """Take the endpoint's own list, asked for at `started`; returns whether it was news."""
        before = (self._cards, self.known, self._marks)
        former, self._cards = self._cards, {name: card.copy() for name, card in cards.items()}
        for name in former.keys() & cards.keys():
            # vLLM's `created` is the time of the question; the first answer is as old as any
            self._cards[name]["created"] = former[name].get("created", 0)
        self.known = True
        self._marks = {
            model: mark
            for model, mark in self._marks.items()
            if mark[0] >= started or self.served(model) not in cards
        }
        return before != (self._cards, self.known, self._marks)

    def mark(self, model: str, error: EndpointRefused | ModelMissing, now: float) -> None:
        """Leave the model out until a list asked for after `now` names it."""
        self._marks[model] = (now, type(error))

    def marked(self, model: str) -> type[EndpointError] | None:
        """Why the model is left out at present."""
        mark = self._marks.get(model)
        return mark[1] if mark is not None else None
