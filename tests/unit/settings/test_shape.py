"""Layers are brought to the schema's spelling; what the schema does not have is named."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from app.settings.shape import Partial, Shaper, names


class Inner(BaseModel):
    model_config = ConfigDict(validate_by_name=True)

    wait: float = Field(1.0, validation_alias=AliasChoices("wait", "wait_duration"))
    size: int = 1


class Outer(BaseModel):
    inner: Inner = Inner()
    maybe: Inner | None = None
    rows: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = {}
    part: Annotated[dict[str, Any], Partial(Inner)] = {}
    noted: Annotated[Inner, "a note"] = Inner()
    parts: dict[str, Annotated[dict[str, Any], Partial(Inner)]] = {}
    either: list[str] | dict[str, str] = []
    free: dict[str, Any] = {}
    models: dict[str, str] = Field(default={}, alias="model_config")


def shape(value, resolve=lambda text: text):
    shaper = Shaper(resolve)
    return shaper.shape(Outer, value), [tuple(problem) for problem in shaper.problems]


def test_kebab_case_and_other_words_become_the_one_we_keep():
    shaped, problems = shape({"inner": {"wait-duration": 3}, "by-name": {"a-b": {"size": 2}}})
    assert shaped == {"inner": {"wait": 3}, "by_name": {"a-b": {"size": 2}}}
    assert problems == []


def test_an_alias_without_the_field_name_is_the_only_spelling():
    assert names(Outer)["model_config"][0] == "model_config"
    assert "models" not in names(Outer)


def test_unknown_keys_are_named_wherever_they_are():
    _, problems = shape({
        "iner": {},
        "inner": {"siz": 1},
        "maybe": {"siz": 1},
        "rows": [{"siz": 1}],
        "by_name": {"a": {"siz": 1}},
        "part": {"siz": 1},
        "noted": {"siz": 1},
        "parts": {"a": {"siz": 1}},
    })  # fmt: skip
    assert problems[0] == ("iner", "unknown key; did you mean 'inner'?")
    assert [path for path, _ in problems[1:]] == [
        "inner.siz",
        "maybe.siz",
        "rows[0].siz",
        "by_name.a.siz",
        "part.siz",
        "noted.siz",
        "parts.a.siz",
    ]
    assert {message for _, message in problems[1:]} == {"unknown key; did you mean 'size'?"}


def test_a_key_like_no_other_lists_the_few_there_are():
    _, problems = shape({"inner": {"zzz": 1}})
    assert problems == [("inner.zzz", "unknown key; known: size, wait, wait_duration")]


def test_two_words_for_one_key_are_refused():
    _, problems = shape({"inner": {"wait": 1, "wait_duration": 2}})
    assert problems == [("inner.wait_duration", "is another word for wait, given twice")]


def test_references_are_resolved_at_any_depth():
    def resolve(text: str) -> str:
        return text.removeprefix("env:")

    shaped, _ = shape({"free": {"x": ["env:a", {"y": "env:b"}], 4: 5}, "either": {"m": "env:c"}}, resolve)
    assert shaped == {"free": {"x": ["a", {"y": "b"}], "4": 5}, "either": {"m": "c"}}


def test_a_reference_that_leads_nowhere_names_its_key():
    def resolve(text: str) -> str:
        raise ValueError(f"{text} is not set")

    _, problems = shape({"rows": [{"size": "env:A"}]}, resolve)
    assert problems == [("rows[0].size", "env:A is not set")]
