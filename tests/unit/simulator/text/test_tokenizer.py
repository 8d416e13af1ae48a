from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.simulator.text.tokenizer import END, Tokenizer

TOKENIZER = Tokenizer()


def ids(text: str) -> list[int]:
    return [token.id for token in TOKENIZER.encode(text)]


@pytest.mark.parametrize(
    ("text", "recorded"),
    [
        ("hello world", [3568, 365, 311, 271, 1382]),
        ("hi", [74, 75]),
        ("<|im_start|>user\nhello<|im_end|>\n", [1, 1505, 201, 3568, 365, 2, 201]),
        ("short", [2168]),
    ],
)
def test_gives_the_recorded_ids(text, recorded):
    assert ids(text) == recorded


@given(st.text())
def test_no_byte_is_lost(text):
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    assert b"".join(token.raw or token.name.encode() for token in TOKENIZER.encode(text)) == raw


@given(st.text(max_size=50))
def test_ids_stay_within_the_vocabulary(text):
    if text.isprintable():
        assert all(0 <= number < 4096 for number in ids(text))


def test_decodes_what_it_has_seen():
    assert TOKENIZER.decode(ids("hello world, naïve 你")) == "hello world, naïve 你"


def test_an_id_nobody_has_seen_reads_as_a_word():
    assert Tokenizer().decode([4000]) == " and"


def test_two_tokenizers_agree():
    assert [token.id for token in Tokenizer().encode("something unheard of")] == ids("something unheard of")


def test_a_script_ends_its_turn():
    assert TOKENIZER.script("O|K")[-1] is END
