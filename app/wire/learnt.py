"""What settled calls teach of each model's prompts: bytes per token, tokens per image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.measure import BYTES_PER_TOKEN, TOKENS_PER_MEDIA

if TYPE_CHECKING:
    from app.core.call import Call
    from app.core.measure import Measure
    from app.core.outcome import Settlement

_LEARNT_FROM = 256
_RATIOS = (0.5, 16.0)
_PER_MEDIA = (1.0, 100_000.0)


class Ratio:
    """Bytes per token of each model, learnt from settled calls as a decaying mean.

    Short prompts, of which the chat template is the larger part, and those with media teach nothing.
    """

    def __init__(self, initial: float = BYTES_PER_TOKEN, weight: float = 0.05) -> None:
        self._initial = initial
        self._weight = weight
        self._learnt: dict[str, float] = {}

    def of(self, model: str) -> float:
        return self._learnt.get(model, self._initial)

    def learn(self, model: str, measured: Measure, prompt_tokens: int) -> None:
        """`model` is a known name; `prompt_tokens` is the engine's own count."""
        tokens = prompt_tokens - measured.ids
        if measured.media or measured.text < _LEARNT_FROM or tokens <= 0:
            return
        lowest, highest = _RATIOS
        seen = min(max(measured.text / tokens, lowest), highest)
        known = self.of(model)
        self._learnt[model] = known + (seen - known) * self._weight

    def __repr__(self) -> str:
        return f"<Ratio {self._learnt}>"


class PerMedia:
    """Tokens per image or sound of each model, learnt from settled calls as a decaying mean.

    A prompt teaches only where most of it is media, so that a wrong guess at its text matters little.
    """

    def __init__(self, initial: float = TOKENS_PER_MEDIA, weight: float = 0.2) -> None:
        self._initial = initial
        self._weight = weight
        self._learnt: dict[str, float] = {}

    def of(self, model: str) -> float:
        return self._learnt.get(model, self._initial)

    def learn(self, model: str, measured: Measure, prompt_tokens: int, ratio: float) -> None:
        """`model` is a known name; `ratio` is its bytes per token; `prompt_tokens` the engine's own count."""
        words = measured.text / ratio + measured.ids
        if not measured.media or prompt_tokens < 2 * words:
            return
        least, most = _PER_MEDIA
        seen = min(max((prompt_tokens - words) / measured.media, least), most)
        known = self.of(model)
        self._learnt[model] = known + (seen - known) * self._weight

    def __repr__(self) -> str:
        return f"<PerMedia {self._learnt}>"


class Prompts:
    """An Observer: estimates prompts with what it has learnt of each model from settled calls."""

    def __init__(self) -> None:
        self.ratio = Ratio()
        self.per_media = PerMedia()

    def tokens(self, model: str, measured: Measure) -> int:
        per_media = self.per_media.of(model) if measured.media else 0.0
        return measured.tokens(self.ratio.of(model), per_media)

    def settled(self, call: Call, settlement: Settlement) -> None:
        """Only an engine's own count teaches."""
        prompt = settlement.usage.prompt
        if prompt > 0 and settlement.usage_source == "upstream":
            model, measured = call.target, call.measure
            self.ratio.learn(model, measured, prompt)
            if measured.media:
                self.per_media.learn(model, measured, prompt, self.ratio.of(model))
