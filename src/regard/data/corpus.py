"""Pairs of texts from files: aligned files, TSV, JSONL, dictionaries, labels, tags, plain text; a line at a time.

A corpus is never held in memory; it is read anew each time it is iterated over.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, get_args

from regard.data.corpus_base import Corpus, Format, Pair, Reading
from regard.data.corpus_conversation import ConversationCorpus, has_conversations
from regard.data.corpus_formats import DictionaryCorpus, JsonCorpus, LineCorpus, MosesCorpus, TsvCorpus
from regard.data.corpus_labelled import ConllCorpus, LabelledCorpus, TextCorpus
from regard.data.corpus_pictures import PICTURE_FORMATS
from regard.data.files import SUFFIXES, without_compression
from regard.data.text import MAX_CHARACTERS, OnError, read_lines
from regard.errors import DataError, UsageError

__all__ = ["Corpus", "Format", "Pair", "TestItem", "open_corpus", "read_test_items", "read_test_set", "recognise"]

FORMATS: tuple[str, ...] = tuple(form for form in get_args(Format) if form not in PICTURE_FORMATS)

_SUFFIX_FORMATS: dict[str, Format] = {
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".dict": "cmudict",
    ".cmudict": "cmudict",
    ".ref": "cmudict",
    ".conll": "conll",
    ".iob": "conll",
    ".bio": "conll",
}


_WITHOUT_SETTINGS: dict[str, type[LineCorpus]] = {
    "cmudict": DictionaryCorpus,
    "text": TextCorpus,
    "labelled": LabelledCorpus,
}

_DICTIONARY_LINE = re.compile(r"\S+ {2,}[^\t]+$")


class TestItem(NamedTuple):
    """A source with every target that is right."""

    source: str
    references: tuple[str, ...]


TestItem.__test__ = False  # type: ignore[attr-defined]  # or pytest would take it for a class of tests


def open_corpus(
    path: str | Path | tuple[str | Path, str | Path],
    *,
    format: str = "auto",
    source: str = "source",
    target: str = "target",
    columns: tuple[int, int] | None = None,
    history: int | None = None,
    on_error: OnError = "error",
    max_length: int = MAX_CHARACTERS,
) -> Corpus:
    """The corpus at `path`: a file, or the prefix of two, to which `.SOURCE` and `.TARGET` are added.

    - `{}` in a prefix stands for the language instead: `corpus/{}/train.txt`; two paths name the two files themselves.
    - A missing `.gz` or `.zst` is found.
    - `format` "auto" is `moses` where `path` is no file, else what the suffix says (`.tsv`; `.jsonl`; `.dict` or
      `.ref`), else what the first line says: `{` begins JSONL, `;;;` or two spaces after the first word make a
      dictionary, a tab makes TSV. Columns `conversation` and `text`, or `turns` in JSONL, make conversations.
    - `.conll`, `.iob` and `.bio` are tagged words. Plain text (`text`) and `LABEL sentence` (`labelled`) must be named:
      no line tells them from anything else.
    - `columns` are the places, from 1, of source and target in TSV. Without them the first line decides: a header,
      if two of its cells are the names `source` and `target`, which then are the columns; else they are 1 and 2.
      In CoNLL they are those of word and tag; without them the first and the last.
    - `history` is the number of turns before a reply that are read, in conversations (1 where it is not given).
    - `max_length` is in characters; a pair with a longer side is left out and counted.

    Raises:
        UsageError: there is no such format, or a setting that the format does not have.
        DataError: there is no such file, or it cannot be read.
    """
    _check_format(format)
    reading = Reading(on_error, max_length)
    if isinstance(path, tuple):
        _refuse_history(history, " and ".join(map(str, path)), "moses")
        if format not in ("auto", "moses"):
            raise UsageError(f"two files are of format `moses`; format `{format}` is one file")
        paths = (_found(Path(path[0])), _found(Path(path[1])))
        _refuse_columns(columns, " and ".join(map(str, paths)), "moses")
        return MosesCorpus(paths, reading)
    if format == "moses" or (format == "auto" and not _is_file(Path(path))):
        _refuse_history(history, str(path), "moses")
        paths = _two_files(str(path), source, target)
        _refuse_columns(columns, " and ".join(map(str, paths)), "moses")
        return MosesCorpus(paths, reading)
    return _open_file(_found(Path(path)), format, reading, columns=columns, history=history, names=(source, target))


def _open_file(
    file: Path,
    format: str,
    reading: Reading,
    *,
    columns: tuple[int, int] | None,
    history: int | None,
    names: tuple[str, str],
) -> Corpus:
    form = recognise(file) if format == "auto" else format
    if format == "auto" and form == "conversation" and columns is not None:
        form = "tsv"
    if form is None:
        raise DataError(
            f"{file}: neither its name nor its first line says what it is; name its format "
            "(tsv, jsonl, cmudict, conversation, text, labelled, conll), or the common prefix of two aligned files"
        )
    if form == "conversation":
        _refuse_columns(columns, str(file), form)
        return _conversations(file, reading, 1 if history is None else history)
    _refuse_history(history, str(file), form)
    if form in ("tsv", "conll"):
        if columns is not None and min(columns) < 1:
            raise UsageError(f"columns are counted from 1, but `columns` are {columns[0]} and {columns[1]}")
        return _table(file, reading, columns, names) if form == "tsv" else ConllCorpus(file, reading, columns)
    _refuse_columns(columns, str(file), form)
    return JsonCorpus(file, reading, *names) if form == "jsonl" else _WITHOUT_SETTINGS[form](file, reading)


def _check_format(format: str) -> None:
    if format in PICTURE_FORMATS:
        raise UsageError(f"the format `{format}` is of pictures: say in `data.picture` what size they shall have")
    if format not in FORMATS:
        raise UsageError(f"there is no corpus format `{format}`; it is one of {', '.join(FORMATS)}")


def recognise(path: Path) -> Format | None:
    """The format of one file, from its first line that is not blank or from its suffix; None where neither says.

    Raises:
        DataError: the file cannot be read.
    """
    suffix = without_compression(path).suffix.lower()
    line = _first_line(path)
    if has_conversations(line):
        return "conversation"
    if suffix in _SUFFIX_FORMATS:
        return _SUFFIX_FORMATS[suffix]
    if line.startswith("{"):
        return "jsonl"
    if line.startswith(";;;") or _DICTIONARY_LINE.match(line):
        return "cmudict"
    return "tsv" if "\t" in line else None


def read_test_items(corpus: Corpus) -> list[TestItem]:
    """The sources in order of first appearance, each with its references.

    A dictionary gives all pronunciations of a word as its references, and a corpus of pictures all captions of one; any
    other corpus one reference a pair.
    """
    if corpus.format != "cmudict" and corpus.pictures is None:
        return [TestItem(source, (target,)) for source, target in corpus]
    references: dict[str, dict[str, None]] = {}  # a dict, for a set would forget the order
    for source, target in corpus:
        references.setdefault(source, {})[target] = None
    return [TestItem(source, tuple(targets)) for source, targets in references.items()]


def read_test_set(corpus: Corpus) -> list[TestItem]:
    """The same of a corpus that something is measured on.

    Raises:
        DataError: it is damaged, or empty.
    """
    items = read_test_items(corpus)
    if not items:
        raise DataError(f"{corpus.name}: the test set is empty")
    return items


def _first_line(path: Path) -> str:
    return next((line for line in read_lines(path, on_error="replace") if line.strip()), "")


def _conversations(path: Path, reading: Reading, history: int) -> ConversationCorpus:
    first = _first_line(path)
    if not has_conversations(first):
        raise DataError(
            f"{path}: conversations are TSV with the columns `conversation` and `text`, or JSONL with a list `turns`"
        )
    return ConversationCorpus(path, reading, None if first.startswith("{") else first, history)


def _refuse_history(history: int | None, name: str, form: str) -> None:
    if history is not None:
        raise UsageError(f"`history` is for conversations, but {name} is read as `{form}`")


def _refuse_columns(columns: tuple[int, int] | None, name: str, form: str) -> None:
    if columns is not None:
        raise UsageError(f"`columns` are for TSV and CoNLL, but {name} is read as `{form}`")


def _is_file(path: Path) -> bool:
    """Anything under this name, with or without compression; pipes and devices too, to be refused by name."""
    return any(candidate.exists() and not candidate.is_dir() for candidate in _candidates(path))


def _candidates(path: Path) -> Iterator[Path]:
    return (path.with_name(path.name + suffix) for suffix in SUFFIXES) if path.name else iter((path,))


def _found(path: Path) -> Path:
    return next((candidate for candidate in _candidates(path) if candidate.exists()), path)


def _two_files(prefix: str, source: str, target: str) -> tuple[Path, Path]:
    pattern = prefix if "{}" in prefix else prefix + ".{}"
    paths = _found(Path(pattern.replace("{}", source))), _found(Path(pattern.replace("{}", target)))
    if Path(prefix).is_dir() and not any(path.exists() for path in paths):
        raise DataError(f"{prefix} is a folder; name a file in it, or what the names of two aligned files share")
    if broken := [path for path in (Path(prefix), *paths) if path.is_symlink() and not path.exists()]:
        raise DataError(f"{broken[0]} is a link that leads nowhere; mend it")
    if not any(path.exists() for path in paths):
        if without_compression(Path(prefix)).suffix.lower() in _SUFFIX_FORMATS:
            raise DataError(f"{prefix}: there is no such file (nor with .gz or .zst)")
        raise DataError(
            f"{prefix} is neither a file nor the prefix of two files {paths[0]} and {paths[1]} (also with .gz or .zst)"
            f"{_neighbours(Path(prefix))}"
        )
    return paths


def _neighbours(prefix: Path) -> str:
    try:
        names = sorted(entry.name for entry in prefix.parent.iterdir() if entry.name.startswith(prefix.name))
    except OSError:
        return f"; nor is there a folder {prefix.parent}"
    if not names:
        return ""
    if whole := [name for name in names if without_compression(Path(name)).suffix in _SUFFIX_FORMATS]:
        return f"; did you mean {prefix.with_name(whole[0])}?"
    there = f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
    return f"; there is {there}: set the languages (--from and --to, or `source` and `target`) by these endings"


def _table(path: Path, reading: Reading, columns: tuple[int, int] | None, names: tuple[str, str]) -> TsvCorpus:
    if columns is not None:
        return TsvCorpus(path, reading, columns)
    first = next(islice(read_lines(path, on_error="replace"), 1), "")
    cells = first.split("\t")
    if names[0] in cells and names[1] in cells and names[0] != names[1]:
        return TsvCorpus(path, reading, (cells.index(names[0]) + 1, cells.index(names[1]) + 1), num_header_lines=1)
    if names != ("source", "target") and len(found := [name for name in names if name in cells]) == 1:
        missing = names[1 - names.index(found[0])]
        raise DataError(
            f"{path}:1: there is a column `{found[0]}`, but no column `{missing}`; there are {', '.join(cells[:6])}: "
            "name two of them as source and target (--from and --to)"
        )
    return TsvCorpus(path, reading, (1, 2))
