"""KV blocks: how many are taken, and which prompt blocks are still there from before."""

from __future__ import annotations

from collections import OrderedDict


class Blocks:
    """A fixed number of blocks for running sequences, and as many prompt blocks remembered as a prefix cache, the
    longest unused forgotten first.
    """

    def __init__(self, total: int, size: int, *, caching: bool = True) -> None:
        self.total = total
        self.size = size
        self.taken = 0
        self.queried_tokens = 0
        self.hit_tokens = 0
        self._caching = caching
        self._cached: OrderedDict[int, None] = OrderedDict()

    @property
    def usage(self) -> float:
        """0 to 1, as `vllm:kv_cache_usage_perc`."""
        return min(1.0, self.taken / self.total)

    def needed(self, tokens: int) -> int:
        return -(-tokens // self.size)

    def fits(self, blocks: int) -> bool:
        return self.taken + blocks <= self.total

    def take(self, blocks: int) -> None:
        self.taken += blocks

    def free(self, blocks: int) -> None:
        self.taken -= blocks

    def match(self, hashes: list[int], tokens: int) -> tuple[int, int]:
        """Tokens of a prompt found in the cache and tokens newly put there; the last token is always computed."""
        if not self._caching:
            return 0, 0
        self.queried_tokens += tokens
        hits = 0
        for number in hashes[: (tokens - 1) // self.size]:
            if number not in self._cached:
                break
            hits += 1
        created = sum(number not in self._cached for number in hashes)
        for number in hashes:
            self._cached[number] = None
            self._cached.move_to_end(number)
        while len(self._cached) > self.total:
            self._cached.popitem(last=False)
        self.hit_tokens += hits * self.size
        return hits * self.size, created * self.size

    def forget(self) -> None:
        """Empty the prefix cache."""
        self._cached.clear()
