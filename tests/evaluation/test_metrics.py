import gzip
import random

import pytest
import sacrebleu

from regard.errors import DataError
from regard.evaluation.metrics import bleu, chrf, evaluate, phoneme_error_rate, word_error_rate
from regard.evaluation.significance import paired_bootstrap


def test_bleu_is_sacrebleus_and_carries_its_signature():
    hypotheses = ["Ein Mann spielt Gitarre auf der Bühne .", "Zwei Hunde rennen über eine Wiese ."]
    references = [("Ein Mann spielt auf der Bühne Gitarre .",), ("Zwei Hunde laufen über eine Wiese .",)]
    metric = bleu(hypotheses, references)
    assert metric.value == sacrebleu.corpus_bleu(hypotheses, [[r[0] for r in references]]).score
    assert "tok:13a" in metric.signature
    assert "case:mixed" in metric.signature
    assert chrf(hypotheses, references).value == sacrebleu.corpus_chrf(hypotheses, [[r[0] for r in references]]).score


def test_tokenised_text_is_measured_as_it_stands():
    hypotheses = ["zwei hunde ; rennen über(wiese) an @-@ bord , am see", "a b c d e"]
    references = [("zwei hunde ; rennen über(wiese) an @-@ bord , im see",), ("a b c d e",)]
    (metric,) = evaluate(["bleu:none"], hypotheses, references)
    assert metric.name == "bleu:none"
    assert "tok:none" in metric.signature
    same = sacrebleu.corpus_bleu(hypotheses, [[r[0] for r in references]], tokenize="none", force=True).score
    assert metric.value == same != bleu(hypotheses, references).value


def test_items_may_have_different_numbers_of_references():
    hypotheses = ["the cat sat on the mat", "a dog ran over the hill today"]
    assert bleu(
        hypotheses, [("no match here", "the cat sat on the mat"), ("a dog ran over the hill today",)]
    ).value == (pytest.approx(100))


def test_a_word_is_right_when_any_accepted_pronunciation_is_met():
    references = [("R EH D", "R IY D"), ("L IY D",)]
    assert word_error_rate(["R IY D", "L EH D"], references).value == 50
    assert phoneme_error_rate(["R IY D", "L EH D"], references).value == pytest.approx(100 / 6)


def test_white_space_between_symbols_does_not_count():
    assert word_error_rate([" R  IY D "], [("R IY D",)]).value == 0


def test_the_nearest_reference_is_charged_by_its_own_length():
    assert phoneme_error_rate(["A B"], [("A B C D", "A B C")]).value == pytest.approx(100 / 3)


def test_nothing_to_evaluate_is_an_error_and_not_a_zero():
    with pytest.raises(DataError, match="0 hypotheses against 0 references"):
        evaluate(["bleu"], [], [])
    with pytest.raises(DataError, match="1 hypotheses against 2"):
        evaluate(["bleu"], ["a"], [("a",), ("b",)])


@pytest.mark.parametrize("metric", ["wer", "per", "bleu", "bleu:none", "gleu"])
def test_bootstrap_finds_a_real_difference_and_no_imagined_one(metric):
    draw = random.Random(1)
    truth = [" ".join(draw.choice("abcdefgh") for _ in range(8)) for _ in range(150)]
    references = [(line,) for line in truth]

    def spoil(share: float) -> list[str]:
        return [" ".join("x" if draw.random() < share else word for word in line.split()) for line in truth]

    bad, good = spoil(0.2), spoil(0.02)
    assert paired_bootstrap(metric, bad, good, references, num_samples=200).p_value < 0.02
    twin_a, twin_b = spoil(0.1), spoil(0.1)
    assert paired_bootstrap(metric, twin_a, twin_b, references, num_samples=200).p_value > 0.05
    assert paired_bootstrap(metric, good, good, references, num_samples=200).p_value > 0.9


def test_two_systems_of_labels_are_compared_by_accuracy():
    references = [("NUM",)] * 40 + [("LOC",)] * 40
    found = paired_bootstrap("accuracy", ["NUM"] * 80, [label for (label,) in references], references, num_samples=200)
    assert (found.baseline, found.system) == (50, 100)
    assert found.p_value < 0.02


@pytest.mark.filterwarnings("error")
def test_samples_of_empty_references_alone_are_no_division_by_zero():
    references = [("",)] * 9 + [("a b",)]
    found = paired_bootstrap("per", [""] * 10, ["a"] * 10, references, num_samples=200)
    assert (found.baseline, found.system) == (100, 500)
    assert 0 < found.p_value <= 1


def test_unequal_systems_are_refused():
    with pytest.raises(DataError, match="same items"):
        paired_bootstrap("wer", ["a"], ["a", "b"], [("a",), ("b",)])


def test_real_references_group_any_of(data_root):
    path = data_root / "g2p-cmudict-g014b2b"
    references = next(iter(path.glob("*.ref.gz")))
    with gzip.open(references, "rt", encoding="utf-8", newline="\n") as lines:
        items = [line.rstrip("\n").split("\t") for line in lines]
    accepted = [tuple(item[1:]) for item in items]
    assert word_error_rate([item[-1] for item in items], accepted).value == 0
