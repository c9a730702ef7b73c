"""Accuracy and chunk F1 against counts by hand and by another algorithm."""

import random
import re

import pytest

from regard.evaluation.chunks import chunks_of, count_chunks
from regard.evaluation.metrics import evaluate


def measured(name, hypotheses, references):
    (metric,) = evaluate([name], hypotheses, [(reference,) for reference in references])
    return metric.value


def test_accuracy_counts_whole_labels():
    assert measured("accuracy", ["World news", "NUM", "LOC"], ["World cup", "NUM", "LOC"]) == pytest.approx(200 / 3)
    assert evaluate(["accuracy"], ["A"], [("B", "A")])[0].value == 100


def test_tag_accuracy_counts_words():
    assert measured("tag_accuracy", ["O B-X", "O"], ["O O", "O O"]) == 50  # the missing tag is wrong


CHUNKS = [
    ("B-NP I-NP O B-VP", [("NP", 0, 1), ("VP", 3, 3)]),
    ("B-NP B-NP I-NP", [("NP", 0, 0), ("NP", 1, 2)]),
    ("I-NP I-NP O I-VP", [("NP", 0, 1), ("VP", 3, 3)]),  # IOB1
    ("I-NP I-VP", [("NP", 0, 0), ("VP", 1, 1)]),  # another type begins another chunk
    ("O O", []),
    ("S-PER B-LOC E-LOC S-PER", [("PER", 0, 0), ("LOC", 1, 2), ("PER", 3, 3)]),  # IOBES
    ("U-PER B-LOC L-LOC I-LOC", [("PER", 0, 0), ("LOC", 1, 2), ("LOC", 3, 3)]),  # BILOU
    ("B-B-X I-B-X", [("B-X", 0, 1)]),
    ("", []),
]


@pytest.mark.parametrize(("tags", "chunks"), CHUNKS)
def test_chunks_are_those_of_conlleval(tags, chunks):
    assert chunks_of(tags.split()) == chunks


def chunks_by_pattern(tags):
    """IOB2 and IOB1 as one regular expression over letters: another way to the same chunks."""
    letters = "".join("O" if tag == "O" else (tag[0] + tag[2]) for tag in tags).replace("O", "OO")
    found = re.finditer(r"(?:(?<=..)|^)(?:B|I)(.)(?:I\1)*", letters)
    return [(match[1], match.start() // 2, match.end() // 2 - 1) for match in found if match.start() % 2 == 0]


def test_f1_is_that_of_another_algorithm_on_random_tags():
    generator = random.Random(4)
    kinds = ["O", *(f"{position}-{kind}" for position in "BI" for kind in "xyz")]
    sentences = [
        [[generator.choice(kinds) for _ in range(length)] for _ in range(2)]
        for length in (generator.randint(1, 9) for _ in range(300))
    ]
    said, right = zip(*sentences, strict=True)
    assert [chunks_of(tags) for tags in right] == [chunks_by_pattern(tags) for tags in right]
    both = sum(len(set(chunks_by_pattern(a)) & set(chunks_by_pattern(b))) for a, b in sentences)
    found, there = (sum(len(chunks_by_pattern(tags)) for tags in side) for side in (said, right))
    precision, recall = both / found, both / there
    f1 = measured("f1", [" ".join(tags) for tags in said], [" ".join(tags) for tags in right])
    assert f1 == pytest.approx(100 * 2 * precision * recall / (precision + recall))
    assert 0 < f1 < 50


def test_f1_by_hand():
    # right: NP, VP; found: NP of other length, VP: one of two is both.
    assert measured("f1", ["B-NP O B-VP"], ["B-NP I-NP B-VP"]) == 50
    assert count_chunks([["O"]], [["O"]]).f1 == 1
