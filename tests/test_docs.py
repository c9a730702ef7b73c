"""What the documents say is so: paths, symbols, commands, settings, links and numbers."""

import ast
import importlib
import inspect
import re
from itertools import chain
from pathlib import Path

import pytest

from documented_commands import ROOT, blocks, check, commands, spans
from regard.cli import main
from regard.models import kinds
from regard.recipe import Recipe

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LECTURE = (ROOT / "docs" / "lecture.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

documents = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def rows() -> list[list[str]]:
    """The tables of the lecture: slide, file, symbol, what shows it."""
    lines = [
        line for line in LECTURE.splitlines() if line.startswith("| ") and not line.startswith(("| slide", "| ---"))
    ]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def links(text: str) -> list[str]:
    return re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)


def linked_modules() -> dict[str, str]:
    """The modules that the lecture links, by the name under which it speaks of them."""
    paths = sorted({Path(link) for link in links(LECTURE) if link.endswith(".py")})
    assert len({path.stem for path in paths}) == len(paths), "two linked files have one name"
    return {path.stem: ".".join(path.with_suffix("").parts[path.parts.index("regard") :]) for path in paths}


def has(owner: object, name: str) -> bool:
    """Whether there is such an attribute, a field of a class, or one that a class gives its objects."""
    if hasattr(owner, name) or name in getattr(owner, "model_fields", {}):
        return True
    return inspect.isclass(owner) and any(
        f"self.{name} = " in inspect.getsource(base) for base in owner.__mro__ if base.__module__.startswith("regard")
    )


@documents
def test_every_link_leads_somewhere(path):
    missing = [link for link in links(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()]
    assert not missing


@documents
def test_every_command_would_be_taken(path):
    for command in commands(path.read_text(encoding="utf-8")):
        check(command)


@pytest.mark.parametrize("verb", main.verbs())
def test_every_example_of_the_help_would_be_taken(verb):
    for command in importlib.import_module(f"regard.cli.{verb}").EXAMPLES.strip().splitlines():
        check(command)


@pytest.mark.parametrize(
    "command",
    [
        "regard trian recipes/cmudict.yaml",
        "regard translate -m m --baem-size 2",
        "echo x | regard translate -m m --beam-size two",
        "regard train recipes/cmudict.yaml model.szie=3",
        "regard evaluate -m m -b 0 test.tsv > out",
    ],
)
def test_a_wrong_command_would_be_noticed(command):
    with pytest.raises(
        Exception, match=r"verb trian|No such option|valid integer|szie|greater than or equal|in the range"
    ):
        check(command)


def test_every_slide_has_a_file_a_symbol_and_something_to_see_or_is_not_there_yet():
    assert len(rows()) > 40
    for slide, file, symbol, see in rows():
        assert slide
        if file == "not yet":
            assert (symbol, see) == ("", ""), slide
        else:
            assert links(file), slide
            assert spans(symbol), slide
            assert see, slide


def test_every_symbol_of_the_lecture_exists():
    modules = linked_modules()
    for slide, file, symbols, _ in rows():
        for symbol in spans(symbols):
            stem, *names = symbol.split(".")
            assert f"{stem}.py]" in file, f"{slide}: {symbol} is in none of the files beside it"
            owner = importlib.import_module(modules[stem])
            for name in names:
                assert has(owner, name), f"{slide}: there is no {symbol}"
                owner = getattr(owner, name, None)


def test_every_system_there_is_stands_in_the_lecture():
    assert set(kinds()) <= set(linked_modules())


def lines_of_python() -> list[str]:
    found = [span for span in spans(LECTURE) if span.startswith("python -c ")]
    return [re.fullmatch(r'python -c "(.*)"', span)[1] for span in found]


@pytest.mark.parametrize("code", lines_of_python())
def test_a_line_of_python_runs(code, capsys):
    exec(compile(code, "lecture.md", "exec"), {})  # noqa: S102
    assert "False" not in capsys.readouterr().out


@pytest.mark.parametrize("code", blocks(LECTURE, "python"))
def test_a_block_of_python_prints_the_numbers_beside_it(code, capsys):
    exec(compile(code, "lecture.md", "exec"), {})  # noqa: S102
    printed = [float(number) for number in re.findall(r"-?\d+\.\d*", capsys.readouterr().out)]
    comments = " ".join(re.findall(r"print\(.*#(.*)", code))
    for promised in re.findall(r"\d+\.\d+", comments):
        digits = len(promised.partition(".")[2])
        assert any(round(number, digits) == float(promised) for number in printed), promised


@documents
def test_names_that_a_python_block_imports_exist(path):
    trees = [ast.parse(block) for block in blocks(path.read_text(encoding="utf-8"), "python")]
    for node in chain.from_iterable(map(ast.walk, trees)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)


@documents
def test_a_recipe_that_is_shown_is_one(path, tmp_path):
    for number, block in enumerate(blocks(path.read_text(encoding="utf-8"), "yaml")):
        recipe = tmp_path / f"{number}.yaml"
        recipe.write_text(block, encoding="utf-8")
        assert Recipe.read(recipe).text()


@documents
def test_a_path_of_this_repository_that_is_named_exists(path):
    named = [
        span for span in spans(path.read_text(encoding="utf-8")) if re.match(r"(src|tests|recipes|benchmarks)/", span)
    ]
    assert not [span for span in named if not (ROOT / span.partition(" ")[0]).exists()]


def test_the_readme_names_every_document():
    assert {path.name for path in DOCUMENTS[1:]} <= {Path(link).name for link in links(README)}
