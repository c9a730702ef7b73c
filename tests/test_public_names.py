"""What `import regard` gives, and what it costs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import regard

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_public_names_are_those_of_the_readme():
    sentence = re.search(r"That is the public interface: (.*?)\. ", README, re.DOTALL)
    assert sorted(re.findall(r"`([\w.]+)`", sentence[1])) == sorted(regard.__all__)


@pytest.mark.parametrize("name", regard.__all__)
def test_every_public_name_is_there_and_explained(name):
    value = getattr(regard, name)
    assert isinstance(value, str) or value.__doc__


def test_dir_shows_the_public_names_only():
    assert dir(regard) == sorted(regard.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        regard.trian  # noqa: B018


def test_nothing_is_public_that_the_types_do_not_know():
    source = Path(regard.__file__).read_text(encoding="utf-8")
    typed = set(re.findall(r"import \w+ as (\w+)", source)) | {"__version__"}
    assert typed == set(regard.__all__)


def test_import_waits_for_nothing_heavy():
    code = "import regard, sys; print(sorted({'torch', 'numpy', 'pydantic', 'matplotlib', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
