"""Recurrent layers: the equations, torch's kernels, padding, and both directions."""

import pytest
import torch
from torch.testing import assert_close

from checks import recurrent as checks
from checks.seq2seq import EXACT
from regard.layers.recurrent import States

every_cell = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_padded_row_is_read_as_if_alone(cell, bidirectional):
    checks.padding_changes_nothing(cell, bidirectional=bidirectional)


@every_cell
def test_the_equations_are_the_kernel(cell):
    checks.steps_are_the_kernel(cell)


@every_cell
def test_two_halves_are_the_whole(cell):
    checks.two_halves_are_the_whole(cell)


@every_cell
def test_states_are_batch_first(cell):
    checks.states_are_batch_first(cell)


def test_u_and_w_of_the_lecture_are_where_the_docstring_says():
    layer, (x, h) = checks.recurrent("rnn", num_layers=1), torch.randn(2, 4, dtype=torch.float64)
    x = x[:3]
    kernel = layer.kernel
    expected = torch.tanh(kernel.weight_ih_l0 @ x + kernel.weight_hh_l0 @ h + kernel.bias_ih_l0 + kernel.bias_hh_l0)
    assert_close(layer.step(x[None], States(h[None, None]))[0][0], expected, **EXACT)


@every_cell
def test_lengths_that_hide_nothing_change_nothing(cell):
    layer, vectors = checks.recurrent(cell, bidirectional=True), checks.inputs()
    outputs, states = layer(vectors)
    counted, counted_states = layer(vectors, lengths=torch.full((4,), 7))
    assert_close(counted, outputs, rtol=0, atol=0)
    assert_close(counted_states.hidden, states.hidden, rtol=0, atol=0)


def test_no_gradient_comes_from_padding():
    layer, vectors = checks.recurrent("lstm", bidirectional=True), checks.inputs().requires_grad_()
    outputs, states = layer(vectors, lengths=checks.LENGTHS)
    (outputs.sum() + states.hidden.sum() + states.cell.sum()).backward()
    for row, length in enumerate(checks.LENGTHS.tolist()):
        assert (vectors.grad[row, length:] == 0).all()
        assert (vectors.grad[row, :length] != 0).any(-1).all()


@pytest.mark.parametrize("num_layers", [1, 2])
def test_dropout_is_between_layers_only_on_both_paths(num_layers):
    layer, vectors = checks.recurrent("gru", num_layers=num_layers, dropout=0.5).train(), checks.inputs()
    states = States(torch.ones(4, num_layers, 4, dtype=torch.float64))
    for run in (lambda: layer(vectors, states)[0], lambda: layer.step(vectors[:, 0], states)[0]):
        torch.manual_seed(0)
        first = run()
        assert ((run() - first).abs().max() > 1e-3) == (num_layers > 1)
    layer.eval()
    assert_close(layer(vectors, states)[0][:, 0], layer.step(vectors[:, 0], states)[0], **EXACT)


def test_a_layer_that_reads_both_ways_cannot_go_on_from_given_states():
    layer, vectors = checks.recurrent("rnn", bidirectional=True), checks.inputs()
    _, states = layer(vectors)
    with pytest.raises(ValueError, match="both ways"):
        layer(vectors, states)
    with pytest.raises(ValueError, match="both ways"):
        layer.step(vectors[:, 0], states)
