"""What recurrent layers must keep; called by the tests and by the mutation suite."""

import torch
from torch.testing import assert_close

from checks.making import randomise
from checks.seq2seq import EXACT, hidden, parts, read_both_ways
from regard.layers.recurrent import Recurrent, States

LENGTHS = torch.tensor([4, 7, 1, 6])


def recurrent(cell: str, **settings: object) -> Recurrent:
    """A random stack in float64."""
    layer = Recurrent(cell, 3, **({"size": 4, "num_layers": 2} | settings)).double()
    randomise(layer)
    return layer.eval()


def inputs(rows: int = 4, length: int = 7) -> torch.Tensor:
    """Random vectors, the same every time; what stands in the padding is random too."""
    return torch.randn(rows, length, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def padding_changes_nothing(cell: str, *, bidirectional: bool) -> None:
    """Every padded row equals its sentence read alone with torch's single-step cells; 0 behind its end."""
    layer, vectors = recurrent(cell, bidirectional=bidirectional), inputs()
    outputs, states = layer(vectors, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        expected, finals = read_both_ways(layer.kernel, list(vectors[row, :length]))
        assert_close(outputs[row, :length], torch.stack(expected), **EXACT)
        assert (outputs[row, length:] == 0).all(), "something is said at padding"
        for depth, final in enumerate(finals):
            assert_close(states.hidden[row, depth], hidden(final)[0], **EXACT)
            if states.cell is not None:
                assert_close(states.cell[row, depth], parts(final)[1][0], **EXACT)


def steps_are_the_kernel(cell: str) -> None:
    """The written equations, one input at a time from given states, equal torch's kernel over the whole sequence."""
    layer, vectors = recurrent(cell, num_layers=3), inputs()
    _, states = layer(inputs(4, 2) * 2)
    outputs, final = layer(vectors, states)
    for position, vector in enumerate(vectors.unbind(1)):
        output, states = layer.step(vector, states)
        assert_close(output, outputs[:, position], **EXACT)
    assert_close(states.hidden, final.hidden, **EXACT)
    assert (states.cell is None) == (final.cell is None) == (cell != "lstm")
    if states.cell is not None:
        assert_close(states.cell, final.cell, **EXACT)


def two_halves_are_the_whole(cell: str) -> None:
    """T inputs, then T more from the states that were left, equal 2T inputs."""
    layer, vectors = recurrent(cell), inputs(4, 8)
    whole, last = layer(vectors)
    first, states = layer(vectors[:, :4])
    second, end = layer(vectors[:, 4:], states)
    assert_close(torch.cat([first, second], 1), whole, **EXACT)
    assert_close(end.hidden, last.hidden, **EXACT)


def states_are_batch_first(cell: str) -> None:
    """Row r of the states belongs to row r of the inputs: reordered states give reordered outputs."""
    layer, vectors = recurrent(cell), inputs()
    _, states = layer(vectors)
    order = torch.tensor([2, 0, 3, 1])
    moved = States(states.hidden[order], None if states.cell is None else states.cell[order])
    assert_close(layer(vectors[order], moved)[0], layer(vectors, states)[0][order], **EXACT)
