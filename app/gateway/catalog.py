"""What callers may ask for: names, aliases and fallbacks, filtered by what a key may use."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from app.core.errors import InvalidRequest, ModelNotFound, NoHealthyEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from app.core.call import Call
    from app.core.ports import Pool
    from app.core.tenant import Key

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """How one model is offered; `defaults` are body fields used where the caller left them out.

    `json_upstream`: whether its JSON answers are asked for as such, or assembled from a stream.
    `resume`: whether streams that break off are carried on elsewhere.
    """

    name: str
    aliases: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    accounting: Literal["exact", "final"] = "exact"
    json_upstream: Literal["json", "stream"] = "json"
    resume: bool = False


class Pools(Protocol):
    """The fleet, as the catalog sees it."""

    def pool(self, model: str) -> Pool | None: ...

    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """Name -> vLLM's own entry (created, root, max_model_len), of every model in the fleet."""
        ...


class Catalog:
    """Resolves names to models. A served name wins over an alias of the same name."""

    def __init__(self, models: Mapping[str, Model], pools: Pools, default: str | None = None) -> None:
        self._pools = pools
        self.offer(models, default)

    def offer(self, models: Mapping[str, Model], default: str | None) -> None:
        """Replace what is offered, as a whole."""
        self._models = dict(models)
        self._default = default
        self._aliases = {alias: model.name for model in models.values() for alias in model.aliases}
        self._shadowed: set[str] = set()

    def resolve(self, name: str | None, key: Key) -> Model:
        """The model behind a name, if this key may use it.

        Raises ModelNotFound, InvalidRequest, or NoHealthyEndpoint while no endpoint has named any model.
        """
        name = name or self._default
        if name is None:
            raise InvalidRequest("Name a model.", param="model")
        real = self._real_name(name) if name in self._aliases else name
        if self._pools.pool(real) is None:
            if self._pools.models() or self._models:
                raise ModelNotFound(param="model")
            raise NoHealthyEndpoint
        if not key.may_use(name, real):
            logger.info("key %s may not use the model it asked for", key.id)
            raise ModelNotFound(param="model")
        return self._models.get(real) or Model(real)

    def fallbacks(self, model: Model, key: Key) -> Iterator[Model]:
        """The models that may stand in for `model`, in order, as far as this key may use them."""
        for name in model.fallbacks:
            if self._pools.pool(name) is not None and key.may_use(name):
                yield self._models.get(name) or Model(name)

    def pool(self, model: Model) -> Pool:
        """Raises ModelNotFound when the model has left the fleet meanwhile."""
        pool = self._pools.pool(model.name)
        if pool is None:
            raise ModelNotFound(param="model")
        return pool

    def listing(self, key: Key) -> list[dict[str, Any]]:
        """The models and aliases this key may use, in OpenAI's shape, sorted by id."""
        cards = self._pools.models()
        rows = [_row(name, card) for name, card in cards.items() if key.may_use(name)]
        for alias, real in self._aliases.items():
            if alias not in cards and real in cards and key.may_use(alias, real):
                rows.append(_row(alias, cards[real]) | {"root": real, "owned_by": "sluice"})
        return sorted(rows, key=lambda row: row["id"])

    def context_length(self, model: Model) -> int | None:
        """Tokens of prompt and answer together, as the model's endpoints tell; None when they do not."""
        length = self._pools.models().get(model.name, {}).get("max_model_len")
        return length if isinstance(length, int) else None

    def longest_answer(self, call: Call, model: Model) -> int | None:
        """Tokens that an answer may take where the caller has set no limit, over all choices; None: unknown."""
        length = self.context_length(model)
        return (
            None if length is None else max(0, length - call.prompt_estimate // call.prompts) * call.choices
        )

    def known(self, name: str) -> bool:
        """Whether a name may appear in metrics."""
        return name in self._aliases or self._pools.pool(name) is not None

    def _real_name(self, alias: str) -> str:
        if self._pools.pool(alias) is not None:
            if alias not in self._shadowed:
                self._shadowed.add(alias)
                logger.warning("alias %r is hidden by a served model of that name", alias)
            return alias
        return self._aliases[alias]


def _row(name: str, card: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        "id": name,
        "object": "model",
        "created": card.get("created", 0),
        "owned_by": card.get("owned_by", "vllm"),
        "root": card.get("root", name),
        "parent": card.get("parent"),
    }
    if card.get("max_model_len") is not None:
        row["max_model_len"] = card["max_model_len"]
    return row
