import pytest
import torch
from torch import nn
from torch.nn import functional

from regard.protocol import Output
from regard.symbols import PAD
from regard.training.chunked_cross_entropy import linear_cross_entropy
from regard.training.information import jeffreys_divergence_of_logits
from regard.training.loss import sequence_loss

ROWS, SIZE, VOCABULARY = 13, 6, 11


def parts(dtype: torch.dtype = torch.float64, *, bias: bool = True):
    torch.manual_seed(0)
    hidden = torch.randn(ROWS, SIZE, dtype=dtype, requires_grad=True)
    weight = torch.randn(VOCABULARY, SIZE, dtype=dtype, requires_grad=True)
    offset = torch.randn(VOCABULARY, dtype=dtype, requires_grad=True) if bias else None
    return hidden, weight, offset, torch.randint(0, VOCABULARY, (ROWS,))


def gradients(loss: torch.Tensor, *tensors: torch.Tensor | None) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [tensor for tensor in tensors if tensor is not None]))


def worst(left: list[torch.Tensor], right: list[torch.Tensor]) -> float:
    return max(float((a.double() - b.double()).abs().max()) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_it_equals_torch_cross_entropy_forward_and_backward(bias, smoothing, dtype, tolerance):
    hidden, weight, offset, labels = parts(dtype, bias=bias)
    logits = functional.linear(hidden, weight, offset)
    expected = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
    expected_nll = functional.cross_entropy(logits, labels, reduction="sum")
    ours = linear_cross_entropy(hidden, weight, offset, labels, label_smoothing=smoothing, chunk_rows=4)
    torch.testing.assert_close(ours.total, expected, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(ours.nll, expected_nll.detach(), atol=tolerance, rtol=tolerance)
    difference = worst(gradients(ours.total, hidden, weight, offset), gradients(expected, hidden, weight, offset))
    assert difference < tolerance


def test_smoothing_follows_torch_and_not_the_other_two_conventions():
    hidden, weight, offset, labels = (tensor.detach() for tensor in parts())
    log_probs = functional.linear(hidden, weight, offset).log_softmax(-1)
    nll = -log_probs.gather(1, labels[:, None]).squeeze(1)
    others = -(log_probs.sum(1) + nll) / (VOCABULARY - 1)
    total = float(linear_cross_entropy(hidden, weight, offset, labels, label_smoothing=0.1).total)
    assert total == pytest.approx(float((0.9 * nll - 0.1 * log_probs.mean(1)).sum()), rel=1e-12)
    assert total != pytest.approx(float((0.9 * nll + 0.1 * others).sum()), rel=1e-3)


@pytest.mark.parametrize("bias", [True, False])
def test_its_gradient_is_that_of_finite_differences(bias):
    hidden, weight, offset, labels = parts(bias=bias)

    def total(*tensors):
        return (
            1.7
            * linear_cross_entropy(
                tensors[0], tensors[1], tensors[2] if bias else None, labels, label_smoothing=0.1, chunk_rows=5
            ).total
        )

    assert torch.autograd.gradcheck(total, (hidden, weight, offset) if bias else (hidden, weight))


def test_with_disagreement_its_gradient_is_that_of_finite_differences():
    hidden, weight, offset, labels = parts()

    def total(*tensors):
        settings = {"label_smoothing": 0.1, "disagreement": 0.7, "chunk_rows": 5}
        return linear_cross_entropy(tensors[0][1:], *tensors[1:], labels[1:], **settings).total

    assert torch.autograd.gradcheck(total, (hidden, weight, offset))


def test_disagreement_is_the_divergence_of_every_other_row_from_the_next():
    hidden, weight, offset, labels = (tensor.detach() for tensor in parts())
    logits = functional.linear(hidden[1:], weight, offset)
    expected = jeffreys_divergence_of_logits(logits[::2], logits[1::2]).sum()
    found = [linear_cross_entropy(hidden[1:], weight, offset, labels[1:], disagreement=d).total for d in (0.0, 0.7)]
    torch.testing.assert_close(found[1] - found[0], 0.7 * expected)


def test_an_odd_row_has_no_double():
    hidden, weight, offset, labels = parts()
    with pytest.raises(ValueError, match="even number of rows, but there are 13"):
        linear_cross_entropy(hidden, weight, offset, labels, disagreement=0.7)


def test_the_chunk_size_does_not_matter():
    hidden, weight, offset, labels = parts(torch.float32)
    results = []
    for chunk_rows in (1, 2, 5, ROWS, 1000):
        loss = linear_cross_entropy(hidden, weight, offset, labels, label_smoothing=0.1, chunk_rows=chunk_rows)
        results.append([loss.total.detach(), loss.nll, *gradients(loss.total, hidden, weight, offset)])
    for result in results[1:]:
        assert worst(result, results[0]) < 2e-5


def test_large_logits_neither_overflow_nor_lose_the_loss():
    hidden, weight, _, labels = parts(torch.float32, bias=False)
    loss = linear_cross_entropy(hidden * 1e3, weight, None, labels)
    expected = functional.cross_entropy((hidden * 1e3) @ weight.t(), labels, reduction="sum")
    torch.testing.assert_close(loss.total, expected, rtol=1e-6, atol=1e-2)


def test_bfloat16_autocast_stays_close_and_gives_float32_gradients():
    hidden, weight, offset, labels = parts(torch.float32)
    exact = linear_cross_entropy(hidden, weight, offset, labels, label_smoothing=0.1).total
    with torch.autocast("cpu", torch.bfloat16):
        rounded = linear_cross_entropy(hidden, weight, offset, labels, label_smoothing=0.1).total
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=1e-2)
    assert rounded.item() != exact.item()
    ours, full = gradients(rounded, hidden, weight, offset), gradients(exact, hidden, weight, offset)
    assert all(gradient.dtype == torch.float32 for gradient in ours)
    assert worst(ours, full) < 0.05


def test_a_hidden_state_in_bfloat16_meets_weights_in_float32():
    hidden, weight, offset, labels = parts(torch.float32)
    half = hidden.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        total = linear_cross_entropy(half, weight, offset, labels).total
    to_hidden, to_weight, to_bias = gradients(total, half, weight, offset)
    assert (to_hidden.dtype, to_weight.dtype, to_bias.dtype) == (torch.bfloat16, torch.float32, torch.float32)


def test_padding_is_neither_counted_nor_given_a_gradient():
    torch.manual_seed(0)
    hidden = torch.randn(2, 4, SIZE, requires_grad=True)
    readout = nn.Linear(SIZE, VOCABULARY)
    labels = torch.tensor([[5, 6, 3, PAD], [7, 3, PAD, PAD]])
    loss = sequence_loss(Output(hidden, readout), labels, label_smoothing=0.1)
    expected = functional.cross_entropy(
        readout(hidden).flatten(0, 1), labels.flatten(), ignore_index=PAD, label_smoothing=0.1, reduction="sum"
    )
    torch.testing.assert_close(loss.total, expected)
    assert loss.num_tokens == 5
    (gradient,) = gradients(loss.total, hidden)
    assert gradient[labels == PAD].abs().max() == 0
    assert gradient[labels != PAD].abs().sum(-1).min() > 0


def test_a_batch_of_padding_only_costs_nothing():
    hidden = torch.randn(2, 3, SIZE, requires_grad=True)
    readout = nn.Linear(SIZE, VOCABULARY)
    loss = sequence_loss(Output(hidden, readout), torch.full((2, 3), PAD), label_smoothing=0.1)
    assert (loss.total.item(), loss.nll.item(), loss.num_tokens) == (0.0, 0.0, 0)
    for gradient in gradients(loss.total, hidden, readout.weight, readout.bias):
        assert gradient.abs().max() == 0


def test_a_target_of_length_zero_costs_nothing():
    loss = sequence_loss(Output(torch.randn(2, 0, SIZE), nn.Linear(SIZE, VOCABULARY)), torch.zeros(2, 0).long())
    assert (loss.total.item(), loss.num_tokens) == (0.0, 0)


def test_the_penalty_is_added_to_the_loss_but_not_to_the_nll():
    hidden, readout = torch.randn(1, 3, SIZE), nn.Linear(SIZE, VOCABULARY)
    labels = torch.tensor([[4, 5, 3]])
    penalty = torch.tensor(2.5, requires_grad=True)
    plain = sequence_loss(Output(hidden, readout), labels)
    with_penalty = sequence_loss(Output(hidden, readout, penalty), labels)
    torch.testing.assert_close(with_penalty.total, plain.total + 2.5)
    torch.testing.assert_close(with_penalty.nll, plain.nll)
    assert gradients(with_penalty.total, penalty) == [torch.tensor(1.0)]


def test_tied_weights_get_both_gradients():
    torch.manual_seed(0)
    embedding = nn.Embedding(VOCABULARY, SIZE)
    readout = nn.Linear(SIZE, VOCABULARY, bias=False)
    readout.weight = embedding.weight
    tokens, labels = torch.tensor([[4, 5, 6]]), torch.tensor([[5, 6, 3]])
    (ours,) = gradients(sequence_loss(Output(embedding(tokens), readout), labels).total, embedding.weight)
    logits = functional.linear(embedding(tokens), embedding.weight).flatten(0, 1)
    (expected,) = gradients(functional.cross_entropy(logits, labels.flatten(), reduction="sum"), embedding.weight)
    torch.testing.assert_close(ours, expected)


def test_without_gradients_none_are_made():
    hidden, weight, offset, labels = parts()
    with torch.no_grad():
        loss = linear_cross_entropy(hidden, weight, offset, labels)
    assert not loss.total.requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("chunk_rows", [4, 1000])
def test_a_gpu_gives_the_same_as_the_cpu(chunk_rows):
    hidden, weight, offset, labels = parts()
    there = [tensor.detach().cuda().requires_grad_() for tensor in (hidden, weight, offset)]
    ours = linear_cross_entropy(*there, labels.cuda(), label_smoothing=0.1, chunk_rows=chunk_rows)
    here = linear_cross_entropy(hidden, weight, offset, labels, label_smoothing=0.1)
    expected = gradients(here.total, hidden, weight, offset)
    assert worst([gradient.cpu() for gradient in gradients(ours.total, *there)], expected) < 1e-10


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_labels_may_stay_on_the_cpu_while_the_model_is_on_a_gpu():
    torch.manual_seed(0)
    readout, hidden = nn.Linear(SIZE, VOCABULARY).cuda(), torch.randn(2, 3, SIZE, device="cuda")
    labels = torch.tensor([[4, 3, PAD], [5, 6, 3]])
    here = sequence_loss(Output(hidden, readout), labels)
    there = sequence_loss(Output(hidden, readout), labels.cuda())
    assert here.total.item() == there.total.item()
