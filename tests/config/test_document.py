"""A recipe file is read as it looks, and what could surprise is refused with its line and column."""

import subprocess
import sys
from pathlib import Path

import pytest

from regard.config.document import load_yaml, parse_yaml
from regard.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("1e-4", 0.0001),
        ("3E5", 300000.0),
        ("1.10", 1.1),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("0o17", 15),
        ("0x1F", 31),
        ("-3", -3),
        ("true", True),
        ("null", None),
        ("~", None),
        ("'12'", "12"),
        ("1_000", "1_000"),
        ("${HOME}", "${HOME}"),
        ("$(rm -rf x)", "$(rm -rf x)"),
        ("~/data", "~/data"),
        ("<<", "<<"),
    ],
)
def test_a_value_is_what_yaml_1_2_says(text, value):
    read = parse_yaml(f"key: {text}\n", "r.yaml").values["key"]
    assert read == value
    assert type(read) is type(value)


def test_every_key_knows_its_line():
    document = parse_yaml("a:\n  b: 1\n  c:\n    - x\n    - y\nd: 2\n", "r.yaml")
    assert document.place(("a", "b")) == "r.yaml:2"
    assert document.place(("a", "c", 1)) == "r.yaml:5"
    assert document.place(("d",)) == "r.yaml:6"
    assert document.place(("a", "missing")) == "r.yaml:1"
    assert document.place(("nowhere",)) == "r.yaml:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "r.yaml:3:1: the key `a` a second time (first in line 1); remove one of them"),
        ("a:\n\tb: 1\n", "r.yaml:2:1: a tab; YAML wants spaces here"),
        ("a: &x 1\n", "r.yaml:1:4: the anchor `&x`: anchors are not used in recipes; write the value alone"),
        ("a: *x\n", "r.yaml:1:4: the alias `*x`: anchors and aliases are not used in recipes; write it out"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "r.yaml:1:4: the tag `tag:yaml.org,2002:python/object/apply:os.system`: "
            "tags are not used in recipes; write the value alone",
        ),
        ("a: 1\0\n", "r.yaml:1:5: control character U+0000; remove it"),
        ("a: 1\n---\nb: 2\n", "r.yaml:2:1: a second document begins here (`---`); a recipe is one document"),
        ("[1]: 2\n", "r.yaml:1:1: a key should be a word"),
        ("- a\n- b\n", "r.yaml:1:1: should be `key: value` lines, but it is a list"),
        ("hello\n", "r.yaml:1:1: should be `key: value` lines, but it is the single value 'hello'"),
        ("a: 010\n", "r.yaml:1:4: `010` is read differently by different programs; write 10 or '010'"),
        (f"a: {'9' * 5000}\n", "r.yaml:1:4: a number of 5000 digits, which no recipe needs"),
        ("a: b: c\n", "r.yaml:1:5: no YAML: mapping values are not allowed here"),
        ("[" * 20_000, "r.yaml:1:52: nested deeper than 50 levels, which no recipe is"),
        ("a: [" + "x, " * 20_000 + "]", "r.yaml:1:29999: more than 10000 values, which no recipe has"),
    ],
)
def test_what_no_recipe_needs_is_refused_with_line_and_column(text, message):
    with pytest.raises(UsageError) as caught:
        parse_yaml(text, "r.yaml")
    assert str(caught.value) == message


def test_a_billion_laughs_are_refused_at_the_first():
    laughs = "a: &a [lol, lol]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    with pytest.raises(UsageError, match=r"^r.yaml:1:4: the anchor `&a`"):
        parse_yaml(laughs, "r.yaml")


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "r.yaml"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(UsageError, match="larger than 256 KiB"):
        load_yaml(path)


def test_bytes_that_are_no_utf8_have_a_place(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"a: 1\nb: gr\xfcn\n")
    with pytest.raises(UsageError) as caught:
        load_yaml(path)
    assert str(caught.value) == f"{path}:2:6: not UTF-8 (byte 0xfc); save the file as UTF-8"


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load_yaml(path).values == {"a": 1}


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"no-such\.yaml: no such file"):
        load_yaml(tmp_path / "no-such.yaml")
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory"):
        load_yaml(tmp_path)


def test_any_file_name_will_do(tmp_path: Path):
    path = tmp_path / "a 'quoted' \U0001f600\nname.yaml"
    path.write_text("a: 1\n")
    assert load_yaml(path).values == {"a": 1}


def test_configuration_is_read_without_torch():
    code = "import sys, regard.config.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
