"""The tagger: its equations, that ELMo stays as it is, and how ELMo gets in."""

import pytest
import torch
from pydantic import ValidationError

from checks import tagger as checks
from checks.elmo import SENTENCES, SHAPE, bytes_of
from checks.planted import Bug, green_then_red
from checks.tagger import tagged, tagger_model
from regard.errors import UsageError
from regard.models import tagger
from regard.protocol import Decodable, Dimensions, Labeller
from regard.training.loss import sequence_loss

SHAPES = {
    "all": {},
    "the top of ELMo": {"elmo_layers": "top"},
    "without ELMo": {"elmo": None},
    "ELMo alone": {"word_size": 0, "filters": []},
    "two layers": {"num_layers": 2, "elmo": None},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_padded_batch_follows_the_equations_of_each_sentence(shape):
    checks.follows_the_equations(**SHAPES[shape])


def test_elmo_neither_learns_nor_drops_out_and_its_mixture_learns():
    checks.elmo_stays_as_it_is()


def test_dropout_is_off_in_evaluation_only():
    model, batch = tagger_model(), tagged(SENTENCES)
    assert torch.equal(model(batch).hidden, model(batch).hidden)
    model.train()
    assert not torch.equal(model(batch).hidden, model(batch).hidden)


def test_an_empty_sentence_is_harmless():
    model = tagger_model()
    logits = model.label(bytes_of([*SENTENCES, ""]))
    assert logits.isfinite().all()
    torch.testing.assert_close(logits[:4], model.label(bytes_of(SENTENCES)), rtol=0, atol=1e-9)


def test_it_learns_a_batch_by_heart():
    torch.manual_seed(0)
    model = tagger.build(tagger.Config(size=16, word_size=16, elmo=SHAPE, dropout=0.0), Dimensions(260, checks.TAGS))
    batch = tagged(SENTENCES)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=0.03)
    for _ in range(80):
        loss = sequence_loss(model(batch), batch.labels)
        optimizer.zero_grad()
        (loss.total / loss.num_tokens).backward()
        optimizer.step()
    assert float(loss.nll) / loss.num_tokens < 0.01
    real = batch.labels != 0
    assert (model.eval().label(batch.source).argmax(-1)[real] == batch.labels[real]).all()


def test_it_labels_and_does_not_generate():
    assert isinstance(tagger_model(), Labeller)
    assert not isinstance(tagger_model(), Decodable)


def test_targets_that_are_no_tags_are_refused():
    batch = tagged(SENTENCES)
    with pytest.raises(UsageError, match=r"6 words in its longest source and 1 labels .* \{kind: tags\}"):
        tagger_model()(batch._replace(target=batch.target[:, :2]))


@pytest.mark.parametrize(
    "settings",
    [
        {"word_size": 0, "filters": []},
        {"elmo_layers": "top"},
        {"word_buckets": 1},
        {"word_size": 0, "word_buckets": 9},
        {"filters": [], "letter_size": 3},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(settings):
    with pytest.raises(ValidationError):
        tagger.Config(**settings)


def _mix_of_words_only(right):
    return lambda self, layers: right(self, [layers[0]] * len(layers))


def _one_place_on(right):
    def wrong(self, reader, source):
        return right(self, reader, source).roll(1, 1)

    return wrong


def _learning(right):
    def wrong(self, mode=True):
        right(self, mode)
        self.reader.train(mode)
        return self

    return wrong


def _with_the_end(right):
    """The mark of the sentence's end is read as one of its words where the row is short."""
    return lambda self, letters: right(self, letters.roll(1, 0))


BUGS = {
    "only the lowest layer is mixed": (tagger.ScalarMix, "forward", _mix_of_words_only, checks.follows_the_equations),
    "ELMo stands beside its word": (tagger.FrozenELMo, "forward", _one_place_on, checks.follows_the_equations),
    "ELMo drops out": (tagger.Tagger, "train", _learning, checks.elmo_stays_as_it_is),
    "words of another row": (tagger.Words, "forward", _with_the_end, checks.follows_the_equations),
    "another hash": (
        tagger, "hash_words", lambda right: lambda x, buckets: (right(x, buckets=buckets) + 1) % buckets,
        checks.follows_the_equations,
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(bug, monkeypatch):
    *planted, check = BUGS[bug]
    green_then_red(Bug(bug, *planted, lambda _: check()), monkeypatch)
