from __future__ import annotations

import math

import pytest

from app.upstream.prometheus_text import samples

NAME = "vllm:num_requests_waiting"


def values(text: str) -> list[float]:
    return [sample.value for sample in samples(text, {NAME})]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (f"{NAME} 3", 3.0),
        (f"{NAME} 3.0", 3.0),
        (f"{NAME}\t3.0", 3.0),
        (f"  {NAME}   3.0  ", 3.0),
        (f'{NAME}{{engine="0",model_name="tiny"}} 1.5e+02', 150.0),
        (f'{NAME}{{model_name="tiny",engine="0"}} 2E-1', 0.2),
        (f'{NAME} {{ model_name = "tiny" , engine="0" , }} 7', 7.0),
        (f"{NAME}{{}} 7", 7.0),
        (f"{NAME} 7 1795164666000", 7.0),
        (f'{NAME}{{a="b"}} 7 # {{trace_id="x"}} 1', 7.0),
        (f"{NAME} +Inf", math.inf),
        (f"{NAME} -Inf", -math.inf),
    ],
)
def test_a_sample_is_read_exactly(line: str, value: float):
    assert values(line) == [value]


def test_nan_is_a_value_too():
    assert math.isnan(values(f"{NAME} NaN")[0])


@pytest.mark.parametrize(
    "line",
    [
        f"# HELP {NAME} some",
        f"# TYPE {NAME} gauge",
        f'{NAME}_by_reason{{reason="capacity"}} 4',
        f"{NAME}_total 4",
        f"my_{NAME} 4",
        f"{NAME}",
        f"{NAME} ",
        f"{NAME} four",
        f'{NAME}{{a="b" 4',
        f"{NAME}{{a=b}} 4",
        f'{NAME}{{a="b}} 4',
        f"{NAME}+4",
        "",
    ],
)
def test_everything_else_is_passed_over(line: str):
    assert values(f"{line}\n{NAME} 1") == [1.0]


def test_labels_are_unescaped():
    line = NAME + r'{model_name="a\"b\\c\nd,}e",engine="0"} 4'
    [sample] = samples(line, {NAME})
    assert sample.labels == {"model_name": 'a"b\\c\nd,}e', "engine": "0"}
    assert sample.name == NAME


def test_several_engines_are_several_samples():
    text = f'{NAME}{{engine="0"}} 1\n{NAME}{{engine="1"}} 2\n'
    assert [(s.labels["engine"], s.value) for s in samples(text, {NAME})] == [("0", 1.0), ("1", 2.0)]


def test_a_name_that_is_no_name_is_passed_over():
    assert list(samples("9lives 9", {"9lives"})) == []
