import pytest
from pydantic import ValidationError

from app.core.errors import InvalidRequest, ModelNotFound
from app.wire.request import Params, Policy, read
from app.wire.surfaces import SURFACES
from tests.unit.wire.streams import CHAT, COMPLETIONS, MESSAGES, RESPONSES

EMBEDDINGS = SURFACES["/v1/embeddings"]
POLICY = Policy()


def refused(body: dict, surface=CHAT, policy: Policy = POLICY) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        read(surface, body, policy)
    return caught.value.param


def test_an_ordinary_request_is_read():
    body = {"model": "qwen3", "messages": [], "stream": True, "n": 2, "max_tokens": 100}
    assert read(CHAT, body, POLICY) == Params(model="qwen3", stream=True, n=2, max_tokens=100)


def test_an_empty_request_asks_for_nothing():
    assert read(CHAT, {}, POLICY) == Params()


@pytest.mark.parametrize("model", [None, ""])
def test_no_model_is_the_callers_default(model):
    assert read(CHAT, {"model": model}, POLICY).model is None


@pytest.mark.parametrize("model", [1, ["m"], {"a": 1}, True, 0, False, [], "a\0b"])
def test_a_model_that_is_no_name_is_refused(model):
    assert refused({"model": model}) == "model"


@pytest.mark.parametrize("model", ["x" * 257, "a\nb", "a\x7fb", "a\u2028b", "a\u202eb"])
def test_v13_a_name_no_model_can_have_is_not_found(model):
    with pytest.raises(ModelNotFound):
        read(CHAT, {"model": model}, POLICY)


@pytest.mark.parametrize("model", ["x" * 256, "../../etc/passwd", "org/model:tag", "modèle"])
def test_unusual_names_are_left_to_the_catalog(model):
    assert read(CHAT, {"model": model}, POLICY).model == model


@pytest.mark.parametrize("field", Policy().refuse)
def test_v09_v10_v12_dangerous_fields_are_refused_by_name(field):
    assert refused({field: "x"}) == field
    assert refused({field: 0}, EMBEDDINGS) == field


def test_a_refused_field_that_is_null_asks_for_nothing():
    assert read(CHAT, {"chat_template": None}, POLICY) == Params()


def test_v18_unknown_fields_pass():
    assert read(CHAT, {"api_base": "http://x", "foo": {"bar": 1}}, POLICY) == Params()


def test_the_policy_decides_what_is_refused():
    lax = Policy(refuse=("foo",))
    assert read(CHAT, {"chat_template": "x"}, lax) == Params()
    assert refused({"foo": 1}, policy=lax) == "foo"


@pytest.mark.parametrize("stream", ["true", 1, 0, "", [], {}])
def test_j10_stream_is_strictly_boolean(stream):
    assert refused({"stream": stream}) == "stream"


def test_surfaces_that_do_not_stream_ignore_the_wish():
    assert not read(EMBEDDINGS, {"stream": True}, POLICY).stream


@pytest.mark.parametrize("n", [0, -1, 9, 10**9, "2", 1.0, True, [1]])
def test_v01_j10_choices_are_an_integer_within_the_policy(n):
    assert refused({"n": n}) == "n"
    assert refused({"best_of": n}, COMPLETIONS) == "best_of"


def test_the_most_choices_are_the_policys():
    assert read(CHAT, {"n": 8}, POLICY).n == 8
    assert read(CHAT, {"n": 20}, Policy(max_n=20)).n == 20
    assert refused({"n": 2}, policy=Policy(max_n=1)) == "n"


def test_without_a_number_of_choices_there_is_one():
    assert read(CHAT, {}, POLICY).n == read(CHAT, {"n": None, "best_of": None}, POLICY).n == 1


@pytest.mark.parametrize("surface", [RESPONSES, MESSAGES, EMBEDDINGS])
def test_surfaces_without_choices_have_one(surface):
    assert read(surface, {"n": 99, "prompt": ["a", "b"]}, POLICY).choices == 1


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("x", 1), (["a", "b", "c"], 3), ([1, 2, 3], 1), ([[1], [2]], 2), ([], 1), (None, 1), ({}, 1)],
)
def test_each_prompt_of_a_list_has_its_own_choices(prompt, prompts):
    params = read(COMPLETIONS, {"prompt": prompt, "n": 2, "max_tokens": 5}, POLICY)
    assert (params.prompts, params.choices, params.completion_limit) == (prompts, 2 * prompts, 10 * prompts)


def test_no_limit_of_tokens_is_none():
    assert read(COMPLETIONS, {"n": 2}, POLICY).completion_limit is None


@pytest.mark.parametrize(
    ("surface", "body", "limit"),
    [
        (CHAT, {"max_tokens": 5}, 5),
        (CHAT, {"max_tokens": 5, "max_completion_tokens": 7}, 7),
        (CHAT, {"max_tokens": 5, "max_completion_tokens": None}, 5),
        (CHAT, {"max_output_tokens": 5}, None),
        (COMPLETIONS, {"max_tokens": 0}, 0),
        (COMPLETIONS, {"max_tokens": 5, "max_completion_tokens": 7}, 5),
        (RESPONSES, {"max_output_tokens": 9, "max_tokens": 5}, 9),
        (MESSAGES, {"max_tokens": 3}, 3),
        (EMBEDDINGS, {"max_tokens": "x"}, None),
    ],
)
def test_each_dialect_names_its_token_limit(surface, body, limit):
    assert read(surface, body, POLICY).max_tokens == limit


@pytest.mark.parametrize("limit", [-1, 1.5, 1.0, "100", True, 10**30, []])
def test_v02_j10_token_limits_are_strict(limit):
    assert refused({"max_tokens": limit}) == "max_tokens"
    assert refused({"max_tokens": limit, "max_completion_tokens": 1}) == "max_tokens"


@pytest.mark.parametrize("messages", [{}, "x", 1])
def test_j10_messages_are_an_array(messages):
    assert refused({"messages": messages}) == "messages"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (None, "none"),
        ({}, "none"),
        ({"include_usage": False}, "none"),
        ({"include_usage": True}, "final"),
        ({"include_usage": True, "continuous_usage_stats": True}, "continuous"),
        ({"continuous_usage_stats": True}, "none"),
    ],
)
def test_stream_options_say_what_usage_the_caller_sees(options, wanted):
    assert read(CHAT, {"stream": True, "stream_options": options}, POLICY).usage_wanted == wanted


@pytest.mark.parametrize("options", ["x", [], True])
def test_stream_options_are_an_object(options):
    assert refused({"stream": True, "stream_options": options}) == "stream_options"


@pytest.mark.parametrize("name", ["include_usage", "continuous_usage_stats"])
def test_stream_options_are_boolean(name):
    assert refused({"stream": True, "stream_options": {name: "yes"}}) == f"stream_options.{name}"


@pytest.mark.parametrize("body", [{"stream_options": 1}, {"stream_options": {"include_usage": True}}])
def test_stream_options_without_a_stream_are_the_engines_to_judge(body):
    assert read(CHAT, body, POLICY).usage_wanted == "none"
    assert read(RESPONSES, {"stream": True} | body, POLICY).usage_wanted == "none"


def test_messages_of_refusals_name_no_values():
    with pytest.raises(InvalidRequest) as caught:
        read(CHAT, {"max_tokens": "top secret"}, POLICY)
    assert "secret" not in caught.value.message


def test_a_bare_off_in_yaml_is_understood():
    assert Policy.model_validate({"cache_salt": False}).cache_salt == "off"
    assert Policy.model_validate({"cache_salt": "tenant"}).cache_salt == "tenant"


@pytest.mark.parametrize("options", [{"cache_salt": True}, {"max_n": 0}, {"unknown": 1}])
def test_policies_are_validated(options):
    with pytest.raises(ValidationError):
        Policy.model_validate(options)
