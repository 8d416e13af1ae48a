from __future__ import annotations

import pytest

from app.cli.declared import declaration_of, patch, read_declaration, steps
from app.settings import ConfigError

UNLIMITED = {
    "requests_per_minute": None,
    "tokens_per_minute": None,
    "concurrency": None,
    "tokens_per_day": None,
    "tokens_per_month": None,
    "requests_burst": None,
    "tokens_burst": None,
}


def tenant(name, **fields):
    """As a backend shows it."""
    known = {
        "limits": UNLIMITED,
        "model_limits": {},
        "models": None,
        "priority": 0,
        "strict": False,
        "disabled": False,
        "metadata": {},
    }
    return {"id": f"tnt_{name}", "name": name, "created_at": 1.0, **known, **fields}


def declared(*rows):
    return read_declaration({"tenants": list(rows)})


def test_what_is_there_already_is_kept():
    (step,) = steps(declared({"name": "a"}), [tenant("a")], prune=True)
    assert (step.action, step.changes) == ("keep", {})


def test_what_is_missing_is_made_with_all_its_fields():
    (step,) = steps(declared({"name": "a", "limits": {"concurrency": 3}, "models": []}), [], prune=False)
    assert step.action == "create"
    assert step.fields == {
        "name": "a",
        "limits": UNLIMITED | {"concurrency": 3},
        "model_limits": {},
        "models": [],
        "priority": 0,
        "strict": False,
        "disabled": False,
        "metadata": {},
    }


def test_what_the_file_leaves_out_goes_back_to_its_default():
    there = tenant(
        "a", limits=UNLIMITED | {"concurrency": 3}, priority=2, strict=True, disabled=True, models=["m"]
    )
    (step,) = steps(declared({"name": "a"}), [there], prune=False)
    assert patch(step) == {
        "limits": UNLIMITED,
        "priority": 0,
        "strict": False,
        "disabled": False,
        "models": None,
    }


def test_a_model_that_lost_its_limits_is_lifted_and_the_others_are_set_whole():
    there = tenant(
        "a", model_limits={"m": UNLIMITED | {"concurrency": 3}, "n": UNLIMITED | {"concurrency": 1}}
    )
    (step,) = steps(
        declared({"name": "a", "model_limits": {"m": {"tokens_per_day": 9}}}), [there], prune=False
    )
    assert patch(step) == {"model_limits": {"m": UNLIMITED | {"tokens_per_day": 9}, "n": None}}


def test_a_model_without_any_limit_is_no_difference():
    (step,) = steps(declared({"name": "a", "model_limits": {"m": {}, "n": None}}), [tenant("a")], prune=False)
    assert step.action == "keep"


def test_others_are_deleted_only_with_prune():
    there = [tenant("a"), tenant("b")]
    assert [step.action for step in steps(declared({"name": "a"}), there, prune=False)] == ["keep"]
    _, deleted = steps(declared({"name": "a"}), there, prune=True)
    assert (deleted.action, deleted.name, deleted.tenant_id) == ("delete", "b", "tnt_b")


def test_an_export_declares_what_is_there_and_nothing_that_is_a_default():
    there = [
        tenant("a"),
        tenant("b", limits=UNLIMITED | {"concurrency": 3}, models=[], metadata={"team": 7}, disabled=True),
        tenant("c", model_limits={"m": UNLIMITED | {"tokens_per_day": 9}}, priority=-1),
    ]
    document = declaration_of(there)
    assert document == {
        "tenants": [
            {"name": "a"},
            {
                "name": "b",
                "limits": {"concurrency": 3},
                "models": [],
                "disabled": True,
                "metadata": {"team": 7},
            },
            {"name": "c", "model_limits": {"m": {"tokens_per_day": 9}}, "priority": -1},
        ]
    }
    assert {step.action for step in steps(read_declaration(document), there, prune=True)} == {"keep"}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"tenant": []}, "tenant: unknown key; did you mean 'tenants'?"),
        (
            {"tenants": [{"name": "a", "limits": {"request_per_minute": 1}}]},
            "tenants[0].limits.request_per_minute: unknown key; did you mean 'requests_per_minute'?",
        ),
        ({"tenants": [{"name": "a"}, {"name": "a"}]}, "tenants[1].name: 'a' is given twice"),
        ({"tenants": [{}]}, "tenants[0].name: Field required"),
        (
            {"tenants": [{"name": "a", "priority": "high"}]},
            "tenants[0].priority: Input should be a valid integer",
        ),
    ],
)
def test_what_a_file_does_not_mean_is_named_with_its_place(document, said):
    with pytest.raises(ConfigError) as caught:
        read_declaration(document)
    assert str(caught.value) == said
