"""No file longer than a sitting, no function longer than a screen, no model that needs half the package to be read."""

import ast
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1] / "src" / "regard"
FILES = sorted(ROOT.rglob("*.py"))
GRAPH = grimp.build_graph("regard", cache_dir=None)
MODELS = sorted(GRAPH.find_children("regard.models"))
SEARCH = [name for name in ("regard.decoding.beam", "regard.decoding.greedy") if name in GRAPH.modules]


def num_lines(module: str) -> int:
    path = ROOT.parent.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return len(file.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_fits_on_a_screen(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 60, f"{node.name} has {lines} lines"


@pytest.mark.parametrize(
    ("start", "files", "lines"), [*((m, 16, 1800) for m in MODELS), *((s, 6, 600) for s in SEARCH)]
)
def test_the_import_closure_stays_small(start, files, lines):
    needed = {start, *(name for name in GRAPH.find_upstream_modules(start) if name.startswith("regard"))}
    code = {name for name in needed if num_lines(name) > 12}  # one-line pages of packages, four constants: no reading
    assert len(code) <= files, sorted(code)
    assert sum(map(num_lines, code)) <= lines, {name: num_lines(name) for name in code}
