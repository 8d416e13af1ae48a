"""What a prompt is made of, before an engine has counted it."""

from __future__ import annotations

import math

from msgspec import Struct

BYTES_PER_TOKEN = 4.0
"""English text in the tokenizers of common models, before a model's own ratio is learnt."""
TOKENS_PER_MEDIA = 1000


class Measure(Struct, frozen=True, gc=False):
    """Bytes of text, token ids, and images or sounds, whose bytes say nothing."""

    text: int = 0
    ids: int = 0
    media: int = 0

    def tokens(self, ratio: float = BYTES_PER_TOKEN, per_media: float = TOKENS_PER_MEDIA) -> int:
        """`ratio` is bytes of text per token."""
        return math.ceil(self.text / ratio + self.ids + self.media * per_media)


NOTHING = Measure()
