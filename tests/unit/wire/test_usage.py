import pytest

from app.core.outcome import Usage
from app.wire.usage import MAX_COUNT, RUNNING, Reading, running_usage, usage_of


def test_openai_usage_is_read():
    usage = {
        "prompt_tokens": 12,
        "total_tokens": 62,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 8, "created_cache_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    for dialect in ("chat", "completions", "pooling"):
        assert usage_of(dialect, usage) == Reading(Usage(12, 50, 8, 30), suspect=False)


def test_null_details_are_none_at_all():
    usage = {"prompt_tokens": 5, "completion_tokens": None, "prompt_tokens_details": None}
    assert usage_of("pooling", usage) == Reading(Usage(5), suspect=False)
    assert usage_of("pooling", {"prompt_tokens": 7, "total_tokens": 7}) == Reading(Usage(7), suspect=False)


def test_responses_usage_is_read():
    usage = {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 9},
    }
    assert usage_of("responses", usage) == Reading(Usage(12, 50, 4, 9), suspect=False)


def test_messages_state_the_cached_part_of_the_prompt_apart():
    usage = {
        "input_tokens": 12,
        "output_tokens": 5,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 3,
    }
    assert usage_of("messages", usage) == Reading(Usage(115, 5, 100), suspect=False)
    assert usage_of("messages", {"input_tokens": 12, "output_tokens": 5}) == Reading(
        Usage(12, 5), suspect=False
    )


def test_the_tokenizer_uses_nothing():
    assert usage_of("tokenize", None) == Reading(Usage(), suspect=False)


def test_u36_no_usage_is_not_suspect():
    assert usage_of("chat", None) == Reading(None, suspect=False)


@pytest.mark.parametrize("forged", [-1, "12", 1e30, 12.0, True, MAX_COUNT + 1, 2**70, [], {}])
def test_u37_a_forged_count_is_never_believed(forged):
    assert usage_of("chat", {"prompt_tokens": forged, "completion_tokens": 1}) == Reading(None, suspect=True)
    assert usage_of("chat", {"prompt_tokens": 1, "completion_tokens": forged}) == Reading(None, suspect=True)
    cached = {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": forged}
    assert usage_of("messages", cached) == Reading(None, suspect=True)


@pytest.mark.parametrize("forged", ["x", [], 1, {}, {"completion_tokens": 1}, {"prompt_tokens": 1}])
def test_u37_half_a_usage_is_suspect(forged):
    assert usage_of("chat", forged) == Reading(None, suspect=True)


@pytest.mark.parametrize("cached", [13, -1, "8"])
def test_u37_parts_never_exceed_the_whole(cached):
    usage, suspect = usage_of(
        "chat",
        {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": cached}},
    )
    assert suspect
    assert 0 <= usage.cached <= usage.prompt
    usage, suspect = usage_of(
        "chat",
        {
            "prompt_tokens": 12,
            "completion_tokens": 5,
            "completion_tokens_details": {"reasoning_tokens": cached},
        },
    )
    assert suspect
    assert 0 <= usage.reasoning <= usage.completion


def test_details_that_are_no_object_are_suspect():
    assert usage_of("pooling", {"prompt_tokens": 2, "prompt_tokens_details": "x"}) == Reading(
        Usage(2), suspect=True
    )


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (b"", Usage(12, 3)),
        (b',"completion_tokens_details":null', Usage(12, 3)),
        (b',"prompt_tokens_details":null', Usage(12, 3)),
        (b',"prompt_tokens_details":{"cached_tokens":8,"created_cache_tokens":4}', Usage(12, 3, 8)),
        (b',"completion_tokens_details":{"reasoning_tokens":2}', Usage(12, 3, 0, 2)),
        (
            b',"prompt_tokens_details":{"cached_tokens":99},"completion_tokens_details":{"reasoning_tokens":99}',
            Usage(12, 3, 12, 3),
        ),
    ],
)
def test_running_usage_is_read_from_bytes(raw, usage):
    stated = RUNNING.match(
        b',"usage":{"prompt_tokens":12,"total_tokens":15,"completion_tokens":3' + raw + b"}"
    )
    assert running_usage(stated) == usage


@pytest.mark.parametrize("count", [b"-3", b'"3"', b"3.0", b"1e30", b"12345678901", b"null"])
def test_u37_forged_running_usage_is_no_match(count):
    assert not RUNNING.match(
        b',"usage":{"prompt_tokens":12,"total_tokens":15,"completion_tokens":' + count + b"}"
    )
