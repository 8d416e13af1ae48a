from __future__ import annotations

from app.simulator.engine.blocks import Blocks


def test_the_last_token_is_always_computed():
    blocks = Blocks(10, 4)
    assert blocks.match([1, 2], 8) == (0, 8)
    assert blocks.match([1, 2], 8) == (4, 0)
    assert blocks.match([1, 2], 9) == (8, 0)


def test_a_hit_ends_at_the_first_stranger():
    blocks = Blocks(10, 4)
    blocks.match([1, 2, 3], 13)
    assert blocks.match([1, 9, 3], 13) == (4, 4)


def test_the_longest_unused_is_forgotten_first():
    blocks = Blocks(2, 4)
    blocks.match([1, 2], 9)
    blocks.match([1], 5)
    blocks.match([3], 5)
    assert blocks.match([1], 5) == (4, 0)
    assert blocks.match([2], 5) == (0, 4)


def test_without_caching_nothing_is_found():
    blocks = Blocks(10, 4, caching=False)
    blocks.match([1], 5)
    assert blocks.match([1], 5) == (0, 0)
    assert blocks.queried_tokens == 0


def test_forgetting_empties_the_cache():
    blocks = Blocks(10, 4)
    blocks.match([1], 5)
    blocks.forget()
    assert blocks.match([1], 5) == (0, 4)


def test_counts_queries_and_hits_in_tokens():
    blocks = Blocks(10, 4)
    blocks.match([1], 5)
    blocks.match([1], 5)
    assert (blocks.queried_tokens, blocks.hit_tokens) == (10, 4)


def test_usage_is_the_share_taken():
    blocks = Blocks(4, 4)
    blocks.take(blocks.needed(9))
    assert (blocks.usage, blocks.fits(1), blocks.fits(2)) == (0.75, True, False)
    blocks.free(3)
    assert blocks.usage == 0.0
