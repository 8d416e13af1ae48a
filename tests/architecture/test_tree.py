"""Files stay small and keep to one language: sizes, promises, names, and what has no place in a tree."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MODULES = [*sorted((ROOT / "app").rglob("*.py")), *sorted((ROOT / "bench").rglob("*.py"))]
OWN_PYTHON = [*MODULES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "alembic").rglob("*.py"))]

LONGEST_FILE = 250
LONGEST_FUNCTION = 50
EMPTY_WORDS = {"base", "common", "helper", "helpers", "impl", "manager", "misc", "util", "utils"}


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_no_file_is_long():
    lengths = {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_long():
    long = [
        f"{place(path)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in functions(parsed(path))
        if (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert long == []


def test_every_module_begins_with_its_promise():
    assert [place(path) for path in MODULES if not ast.get_docstring(parsed(path))] == []


def test_nothing_is_named_after_nothing():
    found = []
    for path in MODULES:
        classes = [node.name for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)]
        for name in (*path.relative_to(ROOT).with_suffix("").parts, *classes):
            words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
            found += [f"{place(path)}: {name}"] if words & EMPTY_WORDS else []
    assert found == []


def test_no_globals_are_rebound():
    found = [
        place(path) for path in MODULES for node in ast.walk(parsed(path)) if isinstance(node, ast.Global)
    ]
    assert found == []


def test_imports_stand_at_the_top():
    """Save where one branch of wiring, of the store or of the command line alone needs what it imports."""
    found = [
        f"{place(path)}:{node.lineno}"
        for path in MODULES
        if not place(path).startswith(("app/wiring", "app/store", "app/cli"))
        for function in functions(parsed(path))
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert found == []


def test_the_tree_speaks_of_the_project_alone():
    foreign = [
        r"\b(?:DESIGN|CONTRACT|FAULTS|DECISIONS|VLLM|PERFORMANCE|SEEDS|STYLE)" + r"\.md",
        "/work" + "/",
        r"(?i:\bissue" + r" \d)",
        r"(?i:\b(?:later|this|next) " + "issue)",
        "(?i:the " + "brief)",
        r"\b(?:TO" + "DO|FIX" + "ME|X" + r"XX)\b",
    ]
    pattern = re.compile("|".join(foreign))
    found = [
        f"{place(path)}: {match.group()}"
        for path in OWN_PYTHON
        for match in pattern.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_alembic_is_no_package():
    assert not (ROOT / "alembic" / "__init__.py").exists()


def test_tests_mirror_the_application():
    """Every folder of unit tests is a folder of the application, or that of the benchmarks."""
    for folder in (ROOT / "tests" / "unit").rglob("*"):
        if folder.is_dir() and folder.name != "__pycache__" and list(folder.glob("test_*.py")):
            mirrored = folder.relative_to(ROOT / "tests" / "unit")
            assert (ROOT / "app" / mirrored).is_dir() or mirrored == Path("bench"), (
                f"{place(folder)} mirrors nothing"
            )
