"""Files become dictionaries, or one plain line."""

from __future__ import annotations

import pytest

from app.settings.documents import parse_yaml, read
from app.settings.problems import ConfigError


def refusal(path) -> tuple[str, str]:
    with pytest.raises(ConfigError) as raised:
        read(path)
    (problem,) = raised.value.problems
    return problem


def test_words_are_not_booleans_and_dates_are_text():
    assert parse_yaml("{a: off, b: yes, c: true, d: False, e: 2024-01-02}") == {
        "a": "off",
        "b": "yes",
        "c": True,
        "d": False,
        "e": "2024-01-02",
    }


def test_toml_is_read_by_its_suffix(tmp_path):
    path = tmp_path / "sluice.toml"
    path.write_text("[server]\nport = 9000\n")
    assert read(path) == {"server": {"port": 9000}}


def test_an_empty_file_is_an_empty_configuration(tmp_path):
    path = tmp_path / "sluice.yaml"
    path.write_text("# nothing yet\n")
    assert read(path) == {}


def test_a_key_given_twice_is_refused_with_its_line(tmp_path):
    path = tmp_path / "sluice.yaml"
    path.write_text("server:\n  port: 1\n  port: 2\n")
    where, message = refusal(path)
    assert where == f"{path}:3"
    assert "'port' is given twice" in message


def test_merge_keys_may_repeat_what_they_merge(tmp_path):
    path = tmp_path / "sluice.yaml"
    path.write_text("a: &a {x: 1}\nb: {<<: *a, x: 2}\n")
    assert read(path)["b"] == {"x": 2}


def test_bad_yaml_names_the_line(tmp_path):
    path = tmp_path / "sluice.yaml"
    path.write_text("server:\n  port: [1\n")
    where, message = refusal(path)
    assert where == f"{path}:3"
    assert message.startswith("is not YAML")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.toml", b"x = ", "is not TOML"),
        ("a.yaml", b"\xff\xfe\x00", "is not UTF-8"),
        ("a.yaml", b"a: \x01", "a character that YAML forbids"),
        ("a.yaml", b"- 1\n", "holds no sections"),
    ],
)
def test_what_is_no_configuration_is_refused_plainly(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    assert words in refusal(path)[1]


def test_a_missing_file_is_refused_plainly(tmp_path):
    assert refusal(tmp_path / "none.yaml")[1] == "cannot be read: No such file or directory"
