"""What only a Transformer must keep."""

import math

import torch
from torch import Tensor
from torch.testing import assert_close

from checks.making import Make, example, transformer_model
from regard.attention.record import AttentionRecord
from regard.layers.positional_encoding import Positions
from regard.models import transformer
from regard.protocol import Dimensions
from regard.symbols import PAD


class NoPositions(Positions):
    """What a Transformer would be without section 3.5."""

    def encode(self, start: int, stop: int) -> Tensor:
        """Nothing."""
        return torch.zeros(stop - start, 1)


def encoder_without_positions_is_permutation_equivariant(make: Make) -> None:
    """Words in another order: the same memory in that order, to 1e-9; with positions it is another memory."""
    model, source, order = make(), example(source_lengths=(6,)).source, torch.tensor([3, 0, 5, 1, 4, 2])

    def difference() -> float:
        straight, shuffled = model.encode(source).memory[0], model.encode(source[:, order]).memory[0]
        return float((shuffled.keys - straight.keys[:, :, order]).detach().abs().max())

    assert difference() > 1e-3, "positions have no effect"
    model.source_positions = NoPositions()
    assert difference() < 1e-9


def rotary_positions_are_relative() -> None:
    """What a rotary encoder makes of a sentence is the same further on in a text that nobody sees the beginning of."""
    model, source = transformer_model(positions="rotary"), example(source_lengths=(6,)).source
    (alone, *_), padding = model.encode(source).memory, torch.full((1, 3), PAD)
    (behind, *_) = model.encode(torch.cat([padding, source], 1)).memory
    assert_close(behind.keys[:, :, 3:], alone.keys, rtol=0, atol=1e-9)


def tied_matrices_are_one(make: Make) -> None:
    """One tensor, also after training steps and loading: three ways with a shared vocabulary, two ways without."""
    for shared in (True, False):
        model = make(dimensions=Dimensions(11, 11, shared))
        model.load_state_dict(make(dimensions=Dimensions(11, 11, shared)).state_dict())
        assert model.readout.weight is model.target_embedding.weight
        assert (model.source_embedding.weight is model.target_embedding.weight) == shared
        names = [name for name, _ in model.named_parameters() if "embedding" in name or "readout" in name]
        assert len(names) == 2 - shared, names
    untied = make(dimensions=Dimensions(11, 11, True), tied=False)
    matrices = [untied.readout.weight, untied.target_embedding.weight, untied.source_embedding.weight]
    assert len({matrix.data_ptr() for matrix in matrices}) == 3


def an_untrained_model_knows_nothing() -> None:
    """At first the loss is about log V and attention is spread: neither saturated nor dead, in both norm orders."""
    torch.manual_seed(0)
    batch = example(source_lengths=(6, 6, 6, 6), target_lengths=(6, 6, 6, 6))
    for norm in ("post", "pre"):
        config = transformer.Config(preset="tiny", norm=norm)
        model = transformer.build(config, Dimensions(200, 200, True)).eval()
        record = AttentionRecord()
        logits = model(batch, record).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
        assert abs(loss - math.log(200)) < 1.5, f"loss {loss:.2f} instead of about {math.log(200):.2f} with {norm}-norm"
        assert record.weights("decoder.3.cross").amax() < 0.9, "attention is saturated before training"


def the_memory_is_projected_once(make: Make) -> None:
    """Steps do not project the source again, and the memory keeps one row a sentence however many beams there are."""
    model, batch = make(), example()
    calls = []
    for layer in model.decoder:
        layer.cross_attention.key_value.register_forward_hook(lambda *_: calls.append(1))
    state = model.encode(batch.source)
    assert len(calls) == len(model.decoder)
    for _ in range(3):
        _, state = model.step(state, torch.full((3,), 4))
    assert len(calls) == len(model.decoder), "projected again"
    assert_close(torch.tensor([past.keys.size(2) for past in state.carry]), torch.full((len(model.decoder),), 3))
