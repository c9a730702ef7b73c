"""ULM-FiT: the classifier's equations, and the three rules of fine-tuning."""

import pytest
import torch

from checks import text_classifier as labeller_checks
from checks import ulmfit as checks
from checks.language_model import QUIET
from checks.making import UNSHARED
from checks.text_classifier import texts
from checks.ulmfit import ulmfit_model
from regard.errors import UsageError
from regard.models import language_model, text_classifier, ulmfit
from regard.protocol import Decodable, Dimensions, Labeller
from regard.training.finetuning import FinetuningConfig, groups_of, scales
from regard.training.schedule import Slanted, learning_rate


def test_a_padded_batch_follows_the_equations_of_each_text():
    checks.follows_the_equations()
    assert isinstance(ulmfit_model(), Labeller)
    assert not isinstance(ulmfit_model(), Decodable)


def test_padding_and_neighbours_change_nothing():
    labeller_checks.padding_changes_nothing(ulmfit_model)
    labeller_checks.the_order_of_words_matters(ulmfit_model)
    labeller_checks.every_parameter_learns(ulmfit_model)


def test_it_learns_one_batch_by_heart():
    torch.manual_seed(0)
    noise = QUIET | {"pooled_dropout": 0.0, "classifier_dropout": 0.0}
    config = ulmfit.Config(embedding_size=12, size=12, **noise)
    labeller_checks.learned_by_heart(ulmfit.build(config, UNSHARED))


def test_a_batch_of_one_text_can_be_learnt_from():
    model = ulmfit_model().train()
    batch = texts(source_lengths=(5,), target_lengths=(2,))
    model(batch).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_parts_thaw_from_the_top():
    checks.parts_thaw_from_the_top()
    checks.the_last_part_alone_can_learn()


def test_every_part_learns_slower_than_the_one_above():
    checks.every_part_learns_slower_than_the_one_above()
    checks.all_parameters_are_in_a_part()
    assert scales(FinetuningConfig(decay=2), 3) == [0.25, 0.5, 1]


def test_the_slanted_triangle():
    slanted = Slanted(learning_rate=0.01, cut=0.1, ratio=32)

    def rate(progress):
        return learning_rate(slanted, step=1, progress=progress)

    assert rate(0.0) == rate(1.0) == pytest.approx(0.01 / 32)
    assert rate(0.1) == pytest.approx(0.01)
    assert rate(0.05) == pytest.approx(0.01 * (1 + 31 / 2) / 32) == pytest.approx(rate(0.55))


@pytest.mark.parametrize("tied", [True, False])
def test_a_language_model_has_parts_too_and_a_matrix_that_serves_both_ends_is_in_one(tied):
    model = language_model.build(language_model.Config(tied=tied), Dimensions(9, 9))
    parts = groups_of(model)
    found = [parameter for part in parts for parameter in part]
    assert len(found) == len(set(found)) == len(list(model.parameters()))
    first, second, top = parts
    assert first == list(model.reader.layers[0].parameters())
    assert second == list(model.reader.layers[1].parameters())
    assert any(parameter is model.readout.weight for parameter in top)


def test_a_model_without_parts_is_refused():
    model = text_classifier.build(text_classifier.Config(), Dimensions(9, 6))
    with pytest.raises(UsageError, match="parts of their own rates"):
        groups_of(model)
