"""The size budgets of the project. The tail is what rots, so the tail has hard limits."""

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("accounts", "billing", "relay", "platform")
FUNCTION_LIMIT = 50
FILE_LIMIT = 500
VIEW_LIMIT = 15
MEDIAN_LIMIT = 9
P90_LIMIT = 25

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def product_files() -> list[Path]:
    files = [path for source in SOURCES for path in (ROOT / source).rglob("*.py")]
    return sorted(path for path in files if "migrations" not in path.parts)


def functions(path: Path) -> Iterator[FunctionNode]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, FunctionNode):
            yield node


def lines_of(node: FunctionNode) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("path", product_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LIMIT
    long = {node.name: lines_of(node) for node in functions(path) if lines_of(node) > FUNCTION_LIMIT}
    assert not long


def test_most_functions_are_short() -> None:
    sizes = sorted(lines_of(node) for path in product_files() for node in functions(path))
    assert statistics.median(sizes) <= MEDIAN_LIMIT
    assert sizes[int(len(sizes) * 0.9)] <= P90_LIMIT


@pytest.mark.parametrize(
    "path",
    [path for path in product_files() if path.name == "views.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_views_only_translate_between_http_and_services(path: Path) -> None:
    bodies = {node.name: (node.end_lineno or 0) - node.body[0].lineno + 1 for node in functions(path)}
    assert {name: size for name, size in bodies.items() if size > VIEW_LIMIT} == {}
