"""The encoder-decoder against its equations, sentence by sentence; called by the tests and by the mutation suite."""

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from checks.attention import plain_score
from checks.making import UNSHARED, example, float64, randomise, vectors
from regard.attention.record import AttentionRecord
from regard.models import seq2seq
from regard.models.seq2seq import Seq2Seq
from regard.protocol import Batch, Dimensions
from regard.symbols import BOS, EOS, PAD

EXACT = {"rtol": 0, "atol": 1e-9}
CELLS: dict[str, type[nn.RNNCellBase]] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}


def seq2seq_model(*, dimensions: Dimensions = UNSHARED, **settings: object) -> Seq2Seq:
    """A tiny encoder-decoder, all parameters random, in evaluation, no two sizes the same unless asked for."""
    sizes = {"embedding_size": 4, "encoder_size": 6, "decoder_size": 5, "decoder_layers": 2, "dropout": 0.5}
    with float64():
        model = seq2seq.build(seq2seq.Config(**(sizes | settings)), dimensions)
    randomise(model)
    return model.eval()


def cells(kernel: nn.RNNBase, suffix: str = "") -> list[nn.RNNCellBase]:
    """Torch's single-step cells with the weights of `kernel`: one a layer, of one direction."""
    made = []
    for layer in range(kernel.num_layers):
        named = {
            part: getattr(kernel, f"{part}_l{layer}{suffix}")
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        cell = CELLS[kernel.mode.split("_")[0].lower()](named["weight_ih"].size(1), kernel.hidden_size).double()
        cell.load_state_dict(named)
        made.append(cell)
    return made


def hidden(state: Any) -> Tensor:
    """Torch's LSTM cells carry (h, c), the others h."""
    return state[0] if isinstance(state, tuple) else state


def read(cell: nn.RNNCellBase, inputs: list[Tensor]) -> tuple[list[Tensor], Any]:
    """One layer, one direction, one sentence, from zeros: h after every input, and the last state."""
    state = None
    outputs = []
    for vector in inputs:
        state = cell(vector[None], state)
        outputs.append(hidden(state)[0])
    return outputs, state


def read_both_ways(kernel: nn.RNNBase, inputs: list[Tensor]) -> tuple[list[Tensor], list[Any]]:
    """A stack of layers over one sentence, in one or two directions: the outputs, and the last states of each layer."""
    finals = []
    backwards = cells(kernel, "_reverse") if kernel.bidirectional else [None] * kernel.num_layers
    for forward, backward in zip(cells(kernel), backwards, strict=True):
        outputs, final = read(forward, inputs)
        if backward is not None:
            mirrored, other = read(backward, inputs[::-1])
            outputs = [torch.cat(pair) for pair in zip(outputs, mirrored[::-1], strict=True)]
            joined = [torch.cat(pair, 1) for pair in zip(parts(final), parts(other), strict=True)]
            final = tuple(joined) if len(joined) == 2 else joined[0]
        inputs = outputs
        finals.append(final)
    return inputs, finals


def parts(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def bridged(model: Seq2Seq, finals: list[Any]) -> list[Any]:
    """The decoder's first states: layer by layer from the top, h = tanh(B h + b), c = B' c + b'."""
    num_layers = model.decoder.recurrent.num_layers
    lifted = ([finals[0]] * num_layers + finals)[-num_layers:] if len(finals) < num_layers else finals[-num_layers:]
    if model.bridge is None:
        return lifted
    states = []
    for layer, final in enumerate(lifted):
        h = torch.tanh(model.bridge.hidden[layer](hidden(final)))
        states.append((h, model.bridge.cell[layer](final[1])) if isinstance(final, tuple) else h)
    return states


def sentence_logits(model: Seq2Seq, source: Tensor, target: Tensor) -> Tensor:
    """The lecture's equations for one sentence, word by word, with nothing in common with the model but its weights."""
    order = source.flip(0) if model.encoder.reverse else source
    words = vectors(model.encoder.embedding.weight, order)
    memory, finals = read_both_ways(model.encoder.recurrent.kernel, list(words))
    if model.encoder.reverse:
        memory = memory[::-1]
    states, fed, logits = bridged(model, finals), None, []
    attend = model.decoder.attend
    if model.decoder.input_feeding:
        fed = torch.zeros(model.decoder.recurrent.kernel.hidden_size, dtype=torch.float64)
    for token in target[:-1]:
        vector = vectors(model.decoder.embedding.weight, token)
        top = vector if fed is None else torch.cat([vector, fed])
        for layer, cell in enumerate(cells(model.decoder.recurrent.kernel)):
            states[layer] = cell(top[None], states[layer])
            top = hidden(states[layer])[0]
        if attend is not None:
            scores = torch.stack([plain_score(attend.attention.score, top, h) for h in memory])
            context = scores.exp() / scores.exp().sum() @ torch.stack(memory)
            top = torch.tanh(attend.combine.weight @ torch.cat([context, top]))
            fed = None if fed is None else top
        logits.append(model.readout.weight @ top + model.readout.bias)
    return torch.stack(logits)


def follows_the_equations(**settings: object) -> None:
    """The padded batch says at every word of every sentence what the equations say."""
    model, batch = seq2seq_model(**settings), example()
    logits = model(batch).logits
    for row, (source, target) in enumerate(zip(batch.source, batch.target, strict=True)):
        expected = sentence_logits(model, source[source != PAD], target[target != PAD])
        assert_close(logits[row, : len(expected)], expected, **EXACT)


def the_context_comes_first() -> None:
    """In [a_t; s_t] the first d1 columns of W_c meet the context: without them the source's words cannot be seen."""
    model, batch = seq2seq_model(encoder_size=6, decoder_size=6), example()
    assert model.decoder.attend is not None
    combine = model.decoder.attend.combine.weight.data
    combine[:, :6] = 0
    combine[:, 6:] = torch.eye(6)
    memory, carry = model.encode(batch.source)
    states, _ = model.decoder.recurrent(model.decoder.embedding(batch.decoder_input), carry.states)
    assert_close(model.decoder(batch.decoder_input, memory, carry, None), torch.tanh(states), **EXACT)


def keys_are_projected_once(**settings: object) -> None:
    """W h_i is computed when a sentence is read, and never again."""
    model, batch = seq2seq_model(**settings), example()
    assert model.decoder.attend is not None
    calls = []
    model.decoder.attend.attention.score.key_weight.register_forward_hook(lambda *_: calls.append(1))
    state = model.encode(batch.source)
    for tokens in batch.decoder_input.unbind(1):
        _, state = model.step(state, tokens)
    assert len(calls) == 1, f"projected {len(calls)} times"


def the_record_keeps_source_order(**settings: object) -> None:
    """Weight i belongs to source word i, also where the words are read last to first."""
    model, record = seq2seq_model(**settings), AttentionRecord()
    batch = Batch(torch.tensor([[4, 5, 6, 7, EOS], [8, 9, EOS, PAD, PAD]]), torch.tensor([[BOS, 4], [BOS, 5]]))
    model(batch, record)
    for row in (0, 1):
        source = batch.source[row][batch.source[row] != PAD]
        words = vectors(model.encoder.embedding.weight, source.flip(0))
        memory, _ = read_both_ways(model.encoder.recurrent.kernel, list(words))
        weights = record.weights("decoder.cross")[row, 0, 0, : len(source)]
        assert_close(record.calls("decoder.cross")[0].context[row, 0, 0], weights @ torch.stack(memory[::-1]), **EXACT)


def gradient_at_the_first_word(score: str, length: int = 50) -> float:
    """How much the loss of the first target word feels source word 1, `length` words back; fresh parameters."""
    torch.manual_seed(1)
    sizes = {"embedding_size": 16, "encoder_size": 16, "decoder_size": 16}
    with float64():
        model = seq2seq.build(seq2seq.Config(score=score, bidirectional=False, **sizes), Dimensions(8, 8)).eval()
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.3, 0.3)  # wide enough for a context to matter in so small a model
    source = torch.tensor([[4, *itertools.repeat(5, length - 2), EOS]])
    output = model(Batch(source, torch.tensor([[BOS, 6]])))
    functional.cross_entropy(output.logits[0], torch.tensor([6])).backward()
    return float(model.encoder.embedding.weight.grad[4].norm())
