import gzip
import os
import tracemalloc

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from regard.data.text import Counts, clean_line, count_lines, is_blank, read_lines, scan_lines, write_lines
from regard.errors import DataError

OTHER_LINE_BREAKS = ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r"]


def written(folder, data, name="train.en"):
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("character", OTHER_LINE_BREAKS, ids=lambda character: f"U+{ord(character):04X}")
def test_i02_only_a_line_feed_ends_a_line(tmp_path, character):
    path = written(tmp_path, f"one{character}two\nthree\n".encode())

    assert list(read_lines(path)) == ["one two", "three"]
    assert count_lines(path) == 2


def test_i02_other_line_breaks_become_counted_spaces(tmp_path):
    counts = Counts()
    path = written(tmp_path, "a\u2028b\nc\x0bd\ne\n".encode())

    assert list(read_lines(path, counts=counts)) == ["a b", "c d", "e"]
    assert counts.as_dict() == {"line_breaks": 2}


def test_i03_crlf_is_removed_and_counted(tmp_path):
    counts = Counts()

    assert list(read_lines(written(tmp_path, b"a\r\nb\r\r\nc\n"), counts=counts)) == ["a", "b ", "c"]
    assert counts["carriage_returns"] == 2
    assert counts.sentences()[0] == "2 line(s) ended in CRLF; the carriage return was removed"


def test_i03_a_byte_order_mark_is_removed_at_the_start_of_the_file_only(tmp_path):
    counts = Counts()

    assert list(read_lines(written(tmp_path, "\ufeffa\n\ufeffb\n".encode()), counts=counts)) == ["a", "\ufeffb"]
    assert counts.as_dict() == {"byte_order_marks": 1}


@pytest.mark.parametrize(("data", "lines"), [(b"a\nb", ["a", "b"]), (b"", []), (b"\n", [""]), (b"a\n\n", ["a", ""])])
def test_i03_a_last_line_without_line_feed_is_a_line(tmp_path, data, lines):
    path = written(tmp_path, data)

    assert list(read_lines(path)) == lines
    assert count_lines(path) == len(lines)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        ("Grüße an alle\n".encode("utf-16"), "UTF-16; convert it with `iconv -f UTF-16 -t UTF-8`"),
        ("Hello to everyone\n".encode("utf-16-le"), "UTF-16LE; convert it with `iconv -f UTF-16LE -t UTF-8`"),
        ("Hello to everyone\n".encode("utf-16-be"), "UTF-16BE; convert it"),
        ("Hello\n".encode("utf-32"), "UTF-32; convert it"),
        (gzip.compress(b"Hello\n", mtime=0), "compressed with gzip; rename it to train.txt.gz"),
        (zstandard.compress(b"Hello\n"), "compressed with zstd; rename it to train.txt.zst"),
        (b"PK\x03\x04 and so on", "not text but a zip archive"),
        (bytes(range(256)) + bytes(300), "is not text: many of its first bytes are control characters"),
    ],
)
def test_i03_what_is_not_utf_8_text_is_recognised(tmp_path, data, advice):
    path = written(tmp_path, data, "train.txt")

    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    assert advice in str(caught.value)
    assert str(path) in str(caught.value)


def test_i03_latin_1_is_an_error_with_line_byte_and_advice(tmp_path):
    path = written(tmp_path, b"gut\nGr\xfc\xdfe\n")

    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    assert str(caught.value) == (
        f"{path}:2: byte 0xFC is not UTF-8 (byte 2 of the line, 6 of the text, counted from 0); it looks like Latin-1: "
        "convert the file with `iconv -f WINDOWS-1252 -t UTF-8`, "
        "or in a recipe set `data.on_error` to `replace` or `skip`"
    )


def test_i03_the_byte_is_counted_with_the_byte_order_mark(tmp_path):
    path = written(tmp_path, b"\xef\xbb\xbfa\xff\n")

    with pytest.raises(DataError, match=r"byte 1 of the line, 4 of the text"):
        list(read_lines(path))


def test_i03_bad_bytes_are_replaced_or_skipped_in_their_place(tmp_path):
    path = written(tmp_path, b"a\nb\xff\nc\n")
    replaced, skipped = Counts(), Counts()

    assert list(scan_lines(path, on_error="replace", counts=replaced)) == ["a", "b\ufffd", "c"]
    assert list(scan_lines(path, on_error="skip", counts=skipped)) == ["a", None, "c"]
    assert list(read_lines(path, on_error="skip")) == ["a", "c"]
    assert replaced.as_dict() == {"replaced": 1}
    assert skipped.as_dict() == {"invalid": 1}


def test_i04_controls_become_spaces_and_a_tab_stays(tmp_path):
    counts = Counts()
    data = "a\0b\x01c\x7fd\x9be\tf\nplain\n".encode()

    assert list(read_lines(written(tmp_path, data), counts=counts)) == ["a b c d e\tf", "plain"]
    assert counts.as_dict() == {"nuls": 1, "controls": 1}


def test_i04_surrogates_are_refused_in_bytes_and_in_text(tmp_path):
    with pytest.raises(DataError, match="0xED is not UTF-8"):
        list(read_lines(written(tmp_path, "\ud800".encode(errors="surrogatepass"))))
    with pytest.raises(DataError, match=r"character 3 of the text is half of a surrogate pair \(U\+D800\)"):
        clean_line("ab\ud800")


def test_i04_rare_characters_stay_as_they_are():
    text = "\ufffd \ue000 \ufdd0 \U0001fffe \U0001f469\u200d\U0001f680 \u202eabc\u202c"

    assert clean_line(text) == text


def test_text_is_brought_into_nfc():
    counts = Counts()

    assert clean_line("u\u0308ber", counts) == "über"
    assert clean_line("über", counts) == "über"
    assert counts.as_dict() == {"normalised": 1}


def test_i05_a_line_that_is_too_long_is_left_out_in_its_place(tmp_path):
    counts = Counts()
    path = written(tmp_path, b"aaaa\nbbbbb\n" + b"c" * 100 + b"\n" + "ä".encode() * 4 + b"\nd")

    assert list(scan_lines(path, max_length=4, counts=counts)) == ["aaaa", None, None, "ää" * 2, "d"]
    assert counts.as_dict() == {"too_long": 2}


def test_i05_a_huge_line_is_never_held_in_memory(tmp_path):
    path = tmp_path / "train.en"
    with open(path, "wb") as file:
        for _ in range(32):
            file.write(b"x" * (1 << 20))
        file.write(b"\nshort\n")

    tracemalloc.start()
    lines = list(scan_lines(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert lines == [None, "short"]
    assert peak < 4 << 20


@pytest.mark.parametrize("text", ["", "  ", "\t", "\u200b", "\ufeff \u200d", "\u2003\u00ad"])
def test_i06_what_cannot_be_seen_is_blank(text):
    assert is_blank(text)
    assert not is_blank(text + "x")


def test_i07_marks_and_directions_are_kept_byte_for_byte():
    text = "שלום \u200fabc q" + "\u0323" * 1000 + " ภาษาไทย 中文 \u0440\u0430\u0443\u0440\u0430l"

    assert clean_line(text).encode() == text.encode()


@pytest.mark.parametrize("name", ["lines.txt", "lines.txt.gz", "lines.txt.zst"])
def test_lines_come_back_as_they_were_written(tmp_path, name):
    lines = ["eins", "", "zwei\tdrei", "ü" * 5000]

    assert write_lines(tmp_path / name, lines) == 4
    assert list(read_lines(tmp_path / name)) == lines
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_equal_lines_make_equal_files(tmp_path):
    for name in ("a.gz", "b.gz"):
        write_lines(tmp_path / name, ["eins", "zwei"])

    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "lines.txt"
    write_lines(path, ["old"])

    with pytest.raises(ValueError, match="line feed"):
        write_lines(path, ["new", "two\nlines"])
    assert path.read_text() == "old\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["lines.txt"]


def test_i12_what_is_no_regular_file_is_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    sentences = {
        tmp_path / "pipe": "is a pipe, which can be read only once",
        tmp_path: "is a folder; name a file in it",
        tmp_path / "none": "there is no such file",
        tmp_path / "none" / "none": "nor is there a folder",
        tmp_path / "loop": "it cannot be read: Too many levels of symbolic links",
        tmp_path / "a\0b": "is not the name of a file",
        tmp_path / ("n" * 300): "it cannot be read: File name too long",
        type(tmp_path)("/dev/zero"): "is a device, not a file of text",
    }
    for path, sentence in sentences.items():
        with pytest.raises(DataError) as caught:
            list(read_lines(path))
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_a_compressed_file_that_was_cut_short_is_an_error(tmp_path, compress):
    whole = compress(b"".join(b"line %d\n" % number for number in range(20_000)))
    path = written(tmp_path, whole[:-20], f"lines.{'gz' if compress is gzip.compress else 'zst'}")

    with pytest.raises(DataError, match="the compressed file ends too early"):
        list(read_lines(path))


@pytest.mark.parametrize("name", ["lines.gz", "lines.zst"])
def test_a_file_that_is_not_compressed_as_named_is_an_error(tmp_path, name):
    with pytest.raises(DataError, match="the compressed file is damaged"):
        list(read_lines(written(tmp_path, b"Hello to everyone\n", name)))


def test_several_compressed_members_are_one_text(tmp_path):
    for name, compress in (("lines.gz", gzip.compress), ("lines.zst", zstandard.compress)):
        path = written(tmp_path, compress(b"a\nb") + compress(b"c\n"), name)
        assert list(read_lines(path)) == ["a", "bc"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
@example(b"\x85\n\xe2\x80\xa8\n")
def test_i14_any_bytes_give_their_lines_or_one_sentence(tmp_path_factory, data):
    path = written(tmp_path_factory.getbasetemp(), data, "any.txt")
    refusal = None
    try:
        lines = list(scan_lines(path, on_error="replace"))
    except DataError as error:
        refusal = str(error)
    if refusal is not None:
        assert "\n" not in refusal
        return

    assert len(lines) == data.count(b"\n") + (not data.endswith(b"\n") and bool(data)) == count_lines(path)
    for line in lines:
        assert line == clean_line(line)
        assert not any(character in line for character in ["\n", *OTHER_LINE_BREAKS])
