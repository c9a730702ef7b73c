import re

import numpy as np
import pytest

from regard.show.plot import head_wall, heat_map, save
from regard.show.sentence import Side, Site
from regard.show.terminal import text_map

HOSTILE = '</script><img src=x onerror=alert(1)> "&$x$'


@pytest.fixture
def site() -> Site:
    weights = np.random.default_rng(0).dirichlet([0.3] * 3, size=(2, 4)).astype(np.float32)
    return Site(
        "decoder.0.cross",
        weights,
        Side(["▁a", "b", HOSTILE, "</s>"], [0, 0, 1, 2]),
        Side(["x", "y", "</s>"], [0, 1, 2]),
    )


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_pictures_are_written_and_odd_words_survive(site, tmp_path, ending):
    weights, keys, queries = site.map(pieces=True)
    path = tmp_path / f"map.{ending}"
    save(heat_map(weights, keys, queries, title="decoder.0.cross"), path)
    assert path.stat().st_size > 1000
    save(head_wall(list(site.weights), keys, queries), path)
    assert path.stat().st_size > 1000


def test_the_same_attention_gives_the_same_bytes(site, tmp_path):
    weights, keys, queries = site.map()
    for name in ("a.svg", "b.svg"):
        save(heat_map(weights, keys, queries), tmp_path / name)
    first = (tmp_path / "a.svg").read_bytes()
    assert first == (tmp_path / "b.svg").read_bytes()
    save(heat_map(1 - weights, keys, queries), tmp_path / "b.svg")
    assert first != (tmp_path / "b.svg").read_bytes()


def test_numbers_in_the_picture_are_the_weights(tmp_path):
    save(heat_map(np.array([[0.25, 0.75], [1.0, 0.0]]), ["x", "y"], ["a", "b"]), tmp_path / "map.svg")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "map.svg").read_text())
    assert [text.strip() for text in texts if "." in text] == [".25", ".75", "1.00"]


def test_a_terminal_map_has_a_line_a_word_and_darkens_with_weight():
    shown = text_map(np.array([[1.0, 0.0], [0.3, 0.7]]), ["ab", "c"], ["eins", "日本"])
    assert shown == "     a\n     b c\neins ██\n日本 ░░▓▓\n"
