"""The shape of a request body: JSON, then each field's type, with pydantic's coercions and complaints."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from app.simulator.api.errors import ApiError, detail, invalid
from app.simulator.http.request import Request

Error = dict[str, Any]
Check = Callable[[Any, str], tuple[Any, list[Error]]]


def read_json(request: Request) -> Any:
    """The body as JSON. Raises the refusal for a wrong content type, an empty body, or text that is no JSON."""
    if (request.header("content-type") or "").split(";")[0].strip().lower() != "application/json":
        message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
        raise ApiError(400, "Bad Request", message)
    if not request.body:
        raise invalid([{"type": "missing", "loc": "body", "msg": "Field required", "input": "None"}])
    try:
        return json.loads(request.body)
    except json.JSONDecodeError as error:
        raise invalid(
            [
                {
                    "type": "json_invalid",
                    "loc": f"body.{error.pos}",
                    "msg": "JSON decode error",
                    "input": "<dict of 0 items>",
                    "ctx": {"error": error.msg},
                }
            ]
        ) from None
    except (ValueError, RecursionError):
        raise detail(400, "There was an error parsing the body") from None


def read_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object."""
    body = read_json(request)
    if not isinstance(body, dict):
        message = "Input should be a valid dictionary or object to extract fields from"
        raise invalid(
            [{"type": "model_attributes_type", "loc": "body", "msg": message, "input": shown(body)}]
        )
    return body


def check_fields(body: dict[str, Any], required: tuple[str, ...], checks: dict[str, Check]) -> dict[str, Any]:
    """The body with its fields coerced. Raises with every complaint, in the order of the fields."""
    checked = dict(body)
    errors: list[Error] = []
    for name in (*required, *(name for name in checks if name not in required)):
        where = f"body.{name}"
        if name not in body:
            if name in required:
                errors.append(missing(where, body))
        elif name in checks and body[name] is not None:
            checked[name], complaints = checks[name](body[name], where)
            errors += complaints
    if errors:
        raise invalid(errors)
    return checked


def shown(value: object) -> str:
    """A value as vLLM shows it in a complaint."""
    if isinstance(value, list | dict):
        return f"<{type(value).__name__} of {len(value)} items>"
    return str(value)


def missing(where: str, body: dict[str, Any]) -> Error:
    return {"type": "missing", "loc": where, "msg": "Field required", "input": shown(body)}


def complaint(kind: str, where: str, message: str, value: object) -> list[Error]:
    return [{"type": kind, "loc": where, "msg": message, "input": shown(value)}]


def string(value: Any, where: str) -> tuple[Any, list[Error]]:
    if isinstance(value, str):
        return value, []
    return value, complaint("string_type", where, "Input should be a valid string", value)


def integer(value: Any, where: str) -> tuple[Any, list[Error]]:
    message = "Input should be a valid integer"
    if isinstance(value, bool | int):
        return int(value), []
    if isinstance(value, float):
        if value.is_integer():
            return int(value), []
        return value, complaint(
            "int_from_float", where, f"{message}, got a number with a fractional part", value
        )
    if not isinstance(value, str):
        return value, complaint("int_type", where, message, value)
    try:
        return int(value), []
    except ValueError:
        return value, complaint(
            "int_parsing", where, f"{message}, unable to parse string as an integer", value
        )


def number(value: Any, where: str) -> tuple[Any, list[Error]]:
    message = "Input should be a valid number"
    if isinstance(value, bool | int | float):
        return float(value), []
    if not isinstance(value, str):
        return value, complaint("float_type", where, message, value)
    try:
        return float(value), []
    except ValueError:
        return value, complaint(
            "float_parsing", where, f"{message}, unable to parse string as a number", value
        )


def boolean(value: Any, where: str) -> tuple[Any, list[Error]]:
    if isinstance(value, bool):
        return value, []
    words = {
        "true": True,
        "1": True,
        "on": True,
        "yes": True,
        "false": False,
        "0": False,
        "off": False,
        "no": False,
    }
    if isinstance(value, str | int) and str(value).lower() in words:
        return words[str(value).lower()], []
    message = "Input should be a valid boolean, unable to interpret input"
    return value, complaint("bool_parsing", where, message, value)


def array(value: Any, where: str) -> tuple[Any, list[Error]]:
    if isinstance(value, list):
        return value, []
    return value, complaint("list_type", where, "Input should be a valid list", value)


def mapping(value: Any, where: str) -> tuple[Any, list[Error]]:
    if isinstance(value, dict):
        return value, []
    return value, complaint("dict_type", where, "Input should be a valid dictionary", value)


def one_of(*choices: str) -> Check:
    """One of these words."""
    *most, last = (f"'{choice}'" for choice in choices)
    expected = f"{', '.join(most)} or {last}" if most else last

    def check(value: Any, where: str) -> tuple[Any, list[Error]]:
        if value in choices:
            return value, []
        error = complaint("literal_error", where, f"Input should be {expected}", value)[0]
        return value, [error | {"ctx": {"expected": expected}}]

    return check


def stops(value: Any, where: str) -> tuple[Any, list[Error]]:
    """A stop string, or up to four of them."""
    if isinstance(value, str):
        return [value], []
    errors = complaint("string_type", where, "Input should be a valid string", value)
    if not isinstance(value, list):
        return value, errors + complaint("list_type", where, "Input should be a valid list", value)
    if len(value) <= 4:
        return value, []
    message = f"List should have at most 4 items after validation, not {len(value)}"
    context = {"field_type": "List", "max_length": 4, "actual_length": len(value)}
    return value, [*errors, complaint("too_long", where, message, value)[0] | {"ctx": context}]


def response_format(value: Any, where: str) -> tuple[Any, list[Error]]:
    """`text`, `json_object`, `json_schema` or `structural_tag`; all three unions complain about anything else."""
    value, errors = mapping(value, where)
    known = one_of("text", "json_object", "json_schema")
    if errors or value.get("type") in ("text", "json_object", "json_schema", "structural_tag"):
        return value, errors
    kind, tag = value.get("type"), one_of("structural_tag")
    errors = (
        known(kind, f"{where}.type")[1] + tag(kind, f"{where}.type")[1] + [missing(f"{where}.format", value)]
    )
    errors += tag(kind, f"{where}.type")[1]
    return value, [*errors, missing(f"{where}.structures", value), missing(f"{where}.triggers", value)]
