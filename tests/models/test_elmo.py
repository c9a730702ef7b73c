"""ELMo: its equations, that no direction sees what it predicts, and what is special about its letters."""

import pytest
import torch
from pydantic import ValidationError

from checks import elmo as checks
from checks.elmo import SENTENCES, batch_of, bytes_of, elmo_model
from checks.making import randomise
from regard.errors import UsageError
from regard.models import elmo
from regard.protocol import Decodable, Dimensions
from regard.training.distillation import divergence_from_teachers
from regard.training.loss import sequence_loss

SHAPES = {"as it is": {}, "one layer": {"num_layers": 1}, "no clipping": {"cell_clip": None, "projection_clip": None}}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_padded_batch_follows_the_equations_of_each_sentence(shape):
    checks.follows_the_equations(**SHAPES[shape])


def test_clipping_bites():
    checks.clipping_bites()


def test_it_predicts_from_both_sides():
    checks.predicts_what_it_says()


def test_no_direction_sees_what_it_predicts():
    checks.no_direction_sees_what_it_predicts()


def test_neighbours_change_nothing_and_no_state_is_kept():
    checks.neighbours_change_nothing()


def test_the_loss_is_the_mean_of_both_directions():
    model, batch = elmo_model(), batch_of(SENTENCES)
    output = model(batch)
    both = sequence_loss(output, batch.labels)
    halves = [
        sequence_loss(output._replace(hidden=hidden, voices=1), batch.labels) for hidden in output.hidden.chunk(2)
    ]
    assert both.num_tokens == halves[0].num_tokens == batch.num_target_tokens
    torch.testing.assert_close(both.total, (halves[0].total + halves[1].total) / 2)
    torch.testing.assert_close(both.nll, (halves[0].nll + halves[1].nll) / 2)
    weights = torch.tensor([0.5, 2.0, 0.0, 1.0], dtype=torch.float64)
    weighted = sequence_loss(output, batch.labels, weights=weights).total
    expected = sum(
        sequence_loss(output._replace(hidden=hidden, voices=1), batch.labels, weights=weights).total / 2
        for hidden in output.hidden.chunk(2)
    )
    torch.testing.assert_close(weighted, expected)


def test_a_teacher_speaks_with_both_voices():
    student, batch = elmo_model(), batch_of(SENTENCES)
    teacher = elmo_model()
    randomise(teacher, seed=6)
    both = divergence_from_teachers(student(batch), [teacher(batch)], batch.labels, temperature=2.0)
    halves = [
        divergence_from_teachers(
            student(batch)._replace(hidden=ours, voices=1),
            [teacher(batch)._replace(hidden=theirs, voices=1)],
            batch.labels,
            temperature=2.0,
        )
        for ours, theirs in zip(student(batch).hidden.chunk(2), teacher(batch).hidden.chunk(2), strict=True)
    ]
    torch.testing.assert_close(both, sum(halves) / 2)


def test_every_parameter_learns_and_dropout_is_off_in_evaluation():
    model, batch = elmo_model(cell_clip=None, projection_clip=None), batch_of(SENTENCES)
    assert torch.equal(model(batch).hidden, model(batch).hidden)
    model.train()
    assert not torch.equal(model(batch).hidden, model(batch).hidden)
    sequence_loss(model(batch), batch.labels).total.backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle


def test_an_empty_sentence_is_harmless():
    model, batch = elmo_model(), batch_of([*SENTENCES, ""])
    output = model(batch)
    assert output.hidden.isfinite().all()
    torch.testing.assert_close(output.hidden[:4], model(batch_of(SENTENCES)).hidden[:4], rtol=0, atol=1e-9)


def test_words_never_seen_have_vectors_of_their_own():
    vectors = elmo_model(max_letters=50).reader(bytes_of(["xylophon xylophone Xylophone zyxt ☃ ☂"])).words[0, 1:-1]
    checks.names_of_words_differ(vectors)


def test_what_is_not_its_own_text_is_refused():
    batch = batch_of(["one two", "three"])
    with pytest.raises(UsageError, match=r"the source must be the target's own text"):
        elmo_model()(batch._replace(source=bytes_of(["one two", "three four"])))


def test_it_learns_a_sentence_by_heart():
    """Of one sentence nothing is left to chance; of two, nobody could know with which word one begins."""
    torch.manual_seed(0)
    settings = {"size": 24, "cell_size": 48, "max_letters": 20, "num_layers": 2, "cell_clip": 3.0, "dropout": 0.0}
    model = elmo.build(elmo.Config(**(checks.SHAPE | settings | {"projection_clip": 3.0})), Dimensions(260, 15))
    batch, optimizer = batch_of(SENTENCES[:1]), torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        loss = sequence_loss(model(batch), batch.labels)
        optimizer.zero_grad()
        (loss.total / loss.num_tokens).backward()
        optimizer.step()
    assert float(loss.nll) / loss.num_tokens < 0.01
    said = model(batch).logits.argmax(-1)
    real = batch.labels != 0
    for voice in said.chunk(2):
        assert (voice[real] == batch.labels[real]).all()


def test_the_published_shape_has_the_published_parameters():
    with torch.device("meta"):
        model = elmo.build(elmo.Config(preset="original"), Dimensions(260, 10))
    assert sum(parameter.numel() for parameter in model.reader.parameters()) == 93_600_864  # 93.6 M
    assert sum(parameter.numel() for parameter in model.reader.words.parameters()) == 18_037_856


def test_it_does_not_generate():
    assert not isinstance(elmo_model(), Decodable)


@pytest.mark.parametrize(
    "settings", [{"max_letters": 2}, {"filters": []}, {"preset": "big"}, {"cell_clip": 0.0}], ids=str
)
def test_what_cannot_be_is_refused(settings):
    with pytest.raises(ValidationError):
        elmo.Config(**settings)
