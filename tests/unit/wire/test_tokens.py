import base64
import json
import time

import pytest

from app.core.measure import TOKENS_PER_MEDIA
from app.wire.surfaces import SURFACES
from app.wire.tokens import measure
from tests.unit.wire.streams import CHAT, COMPLETIONS, MESSAGES, RESPONSES

EMBEDDINGS = SURFACES["/v1/embeddings"]


def estimate(surface, body, ratio=4.0):
    return measure(surface, body).tokens(ratio)


def test_text_is_counted_by_its_bytes():
    assert estimate(COMPLETIONS, {"prompt": "x" * 400}) == 100
    assert estimate(COMPLETIONS, {"prompt": "x" * 401}) == 101
    assert estimate(COMPLETIONS, {"prompt": "你" * 100}) == 75
    assert estimate(COMPLETIONS, {"prompt": "x" * 400}, ratio=2.0) == 200


def test_token_ids_count_exactly():
    assert estimate(COMPLETIONS, {"prompt": [1, 2, 3]}) == 3
    assert estimate(EMBEDDINGS, {"input": [[1, 2, 3], [4]]}) == 4


def test_nothing_is_nothing():
    assert estimate(CHAT, {}) == 0
    assert estimate(CHAT, {"messages": [], "tools": None}) == 0
    assert estimate(CHAT, {"messages": [None, True, 1.5]}) == 0


def test_all_input_fields_of_a_surface_count():
    assert measure(CHAT, {"messages": ["ab"], "tools": ["cd"], "user": "zzz"}).text == 4
    assert measure(MESSAGES, {"messages": ["ab"], "system": "cd", "tools": []}).text == 4
    assert measure(RESPONSES, {"input": "ab", "instructions": "cd"}).text == 4
    assert measure(SURFACES["/v1/rerank"], {"query": "ab", "documents": ["cd", {"text": "ef"}]}).text == 10
    assert measure(SURFACES["/v1/score"], {"text_1": "ab", "text_2": ["cd", "ef"]}).text == 6


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize"])
def test_the_tokenizer_costs_nothing(path):
    assert estimate(SURFACES[path], {"prompt": "x" * 100, "tokens": [1, 2]}) == 0


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}},
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"x" * 100_000).decode()}},
        {"type": "input_image", "image_url": "https://example.com/" + "x" * 1000},
        {"type": "image", "source": {"type": "base64", "data": "A" * 100_000}},
        "data:audio/wav;base64," + "A" * 100_000,
        {"image_url": {"url": "data:image/png;base64," + "A" * 100_000}},
    ],
)
def test_media_never_count_by_their_bytes(part):
    tokens = estimate(CHAT, {"messages": [{"role": "user", "content": [part]}]})
    assert TOKENS_PER_MEDIA < tokens < TOKENS_PER_MEDIA + 20


def test_a_type_that_is_no_word_is_text_like_any_other():
    assert measure(CHAT, {"messages": [{"type": ["x"], "text": "hello"}]}).text == 14


def test_the_estimate_leaves_the_body_alone():
    body = {"messages": [{"role": "user", "content": "x"}], "tools": [1, 2]}
    before = json.dumps(body)
    estimate(CHAT, body)
    assert json.dumps(body) == before


def test_a_megabyte_is_cheap():
    body = {"messages": [{"role": "user", "content": "x" * 1000}] * 1000}
    started = time.process_time()
    assert estimate(CHAT, body) > 250_000
    assert time.process_time() - started < 0.1
