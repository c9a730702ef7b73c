"""Nothing in the package can turn a file into running code (L08)."""

import ast
from pathlib import Path

import pytest

import regard

PACKAGE = Path(regard.__file__).parent
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "code", "codeop", "runpy"}
NAMES = {"eval", "exec", "compile", "__import__"}
CALLS = {
    ("torch", "load"),
    ("torch", "save"),
    ("yaml", "load"),
    ("os", "system"),
    ("os", "popen"),
    ("torch.hub", "load"),
    ("importlib", "reload"),
    ("subprocess", "getoutput"),
}
# Where a module is imported by name, the name is first looked up among the files of one folder of the package.
MAY_IMPORT_BY_NAME = {"models/__init__.py", "cli/main.py"}
# The one place that reads state dicts of others, whose pickles may hold numbers alone, and the error that says so.
MAY_READ_STATE_DICTS = "pipelines/pretrained.py"


def findings(source: str, name: str) -> list[str]:
    """Everything in `source` that could run code which is not the package's own, as `what:line`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            found += [f"{alias.name}:{line}" for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            if name == MAY_READ_STATE_DICTS and ast.unparse(node) == "from pickle import UnpicklingError":
                continue
            found.append(f"{node.module}:{line}")
        elif isinstance(node, ast.Call):
            found += [f"{what}:{line}" for what in _call(node, name)]
    return found


def _call(node: ast.Call, name: str) -> list[str]:
    found = [
        "shell=True"
        for keyword in node.keywords
        if keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
    ]
    found += [
        f"{keyword.arg}=True"
        for keyword in node.keywords
        if keyword.arg in ("allow_pickle", "trust_remote_code")
        and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
    ]
    if isinstance(node.func, ast.Name) and node.func.id in NAMES:
        found.append(node.func.id)
    if isinstance(node.func, ast.Attribute):
        owner = ast.unparse(node.func.value)
        if (owner, node.func.attr) in CALLS and not _reads_numbers_alone(node, name):
            found.append(f"{owner}.{node.func.attr}")
        literal = bool(node.args) and isinstance(node.args[0], ast.Constant)
        if node.func.attr == "import_module" and not literal and name not in MAY_IMPORT_BY_NAME:
            found.append("import_module")
    return found


def _reads_numbers_alone(node: ast.Call, name: str) -> bool:
    settings = {ast.unparse(keyword) for keyword in node.keywords}
    return name == MAY_READ_STATE_DICTS and ast.unparse(node.func) == "torch.load" and "weights_only=True" in settings


def test_l08_the_package_runs_no_code_from_files() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 30
    found = [
        f"{path.relative_to(PACKAGE)}:{finding}"
        for path in files
        for finding in findings(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE).as_posix())
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trust)",
        "eval(text)",
        "exec(text)",
        "yaml.load(text)",
        "subprocess.run(command, shell=True)",
        "subprocess.run(command, shell=flag)",
        "os.system(command)",
        "importlib.import_module(config.kind)",
        "__import__(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_check_notices(line: str) -> None:
    assert findings(line, "some/file.py") != []


@pytest.mark.parametrize(
    "line", ["torch.load(path)", "torch.load(path, weights_only=safe)", "from pickle import loads"]
)
def test_who_reads_state_dicts_may_not_do_more(line: str) -> None:
    assert findings(line, MAY_READ_STATE_DICTS) != []


def test_the_check_allows_what_is_harmless() -> None:
    assert (
        findings("model.eval()\nre.compile('a')\nload(path)\nimportlib.import_module('regard.x')", "some/file.py") == []
    )


def test_only_models_of_the_package_are_imported_by_name() -> None:
    from regard.errors import UsageError
    from regard.models import family

    for kind in ("os", "../cli/main", "transformer.os", "__init__", "", "regard.models.transformer", "Transformer"):
        with pytest.raises(UsageError, match="no model of kind"):
            family(kind)
