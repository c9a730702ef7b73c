"""What every encoder-decoder must keep, whatever it is made of. `make(**settings)` gives a fresh random model."""

import torch
from torch.testing import assert_close

from checks.making import TARGET, Make, example
from regard.attention.record import AttentionRecord
from regard.protocol import Batch, State
from regard.symbols import BOS, EOS, PAD
from regard.trees import select_rows, tensors

EXACT = {"rtol": 0, "atol": 1e-9}


def the_future_does_not_leak(make: Make) -> None:
    """What is said at position t does not depend on the target tokens after t, and does depend on token t."""
    model, batch = make(), example(target_lengths=(6, 6, 6))
    before = model(batch).logits
    for position in range(1, 6):
        target = batch.target.clone()
        target[:, position] = EOS + 1 + (target[:, position] - EOS) % (TARGET - EOS - 1)
        after = model(batch._replace(target=target)).logits
        assert_close(after[:, :position], before[:, :position], **EXACT)
        assert (after[:, position] - before[:, position]).abs().amax() > 1e-4, "the token just read is not seen"


def padding_changes_nothing(make: Make) -> None:
    """A sentence alone gets the logits that it gets among longer neighbours."""
    model, batch = make(), example()
    together = model(batch).logits
    for row in range(len(batch.source)):
        source, target = batch.source[row], batch.target[row]
        alone = model(Batch(source[source != PAD][None], target[target != PAD][None])).logits[0]
        assert_close(together[row, : len(alone)], alone, **EXACT)


def the_order_of_rows_changes_nothing(make: Make) -> None:
    """Shuffled sentences get the same logits, shuffled."""
    model, batch, order = make(), example(), torch.tensor([2, 0, 1])
    shuffled = model(Batch(batch.source[order], batch.target[order])).logits
    assert_close(shuffled, model(batch).logits[order], **EXACT)


def the_order_of_words_matters(make: Make) -> None:
    """A source read backwards, and a past told in another order, give other logits."""
    model = make()
    batch = Batch(torch.tensor([[4, 5, 6, 7, EOS]]), torch.tensor([[BOS, 4, 5, 6, 7, EOS]]))
    before = model(batch).logits[0, -1]
    backwards = batch._replace(source=torch.tensor([[7, 6, 5, 4, EOS]]))
    other_past = batch._replace(target=torch.tensor([[BOS, 5, 4, 6, 7, EOS]]))
    for changed in (backwards, other_past):
        assert (model(changed).logits[0, -1] - before).abs().amax() > 1e-4, "the order of words is not seen"


def a_step_says_what_forward_says(make: Make) -> None:
    """Decoding token by token equals teacher forcing at every position."""
    model, batch = make(), example(target_lengths=(6, 6, 6))
    forced = model(batch).logits
    state = model.encode(batch.source)
    for position, tokens in enumerate(batch.decoder_input.unbind(1)):
        logits, state = model.step(state, tokens)
        assert_close(logits, forced[:, position], **EXACT)


def beams_say_what_forward_says(make: Make) -> None:
    """Also with two beams a sentence that change places at every step, and after a sentence has left the batch."""
    model, batch = make(), example()
    generator = torch.Generator().manual_seed(3)
    state = model.encode(batch.source)
    state = State(state.memory, select_rows(state.carry, torch.tensor([0, 0, 1, 1, 2, 2])))
    tokens = torch.full((6,), BOS)
    past = torch.empty(6, 0, dtype=torch.long)
    source = batch.source
    for step in range(5):
        past = torch.cat([past, tokens[:, None]], 1)
        logits, state = model.step(state, tokens)
        target = torch.cat([past, tokens[:, None]], 1)  # the last one is only there to be cut off
        forced = model(Batch(source.repeat_interleave(2, 0), target)).logits[:, -1]
        assert_close(logits, forced, **EXACT)
        swaps = torch.randint(0, 2, (len(tokens),), generator=generator)  # both may come from the same parent
        rows = torch.arange(len(tokens)) // 2 * 2 + swaps
        state, past = State(state.memory, select_rows(state.carry, rows)), past[rows]
        tokens = torch.randint(EOS + 1, TARGET, (len(tokens),), generator=generator)
        if step == 2:  # the sentence in the middle is done
            keep = torch.tensor([0, 1, 4, 5])
            state = State(select_rows(state.memory, torch.tensor([0, 2])), select_rows(state.carry, keep))
            source, past, tokens = source[[0, 2]], past[keep], tokens[keep]


def a_state_is_not_changed_by_a_step(make: Make) -> None:
    """A state can be continued twice: what a step returns is new, what it got stays."""
    model, batch = make(), example()
    _, state = model.step(model.encode(batch.source), torch.full((3,), BOS))
    before = [tensor.clone() for tensor in tensors(state)]
    first, _ = model.step(state, torch.full((3,), 4))
    model.step(state, torch.full((3,), 5))
    again, _ = model.step(state, torch.full((3,), 4))
    assert_close(again, first, **EXACT)
    for tensor, same in zip(tensors(state), before, strict=True):
        assert_close(tensor, same, rtol=0, atol=0)


def looking_changes_nothing(make: Make) -> None:
    """The logits with a record are those without one, teacher-forced and step by step."""
    model, batch = make(), example()
    assert_close(model(batch, AttentionRecord()).logits, model(batch).logits, **EXACT)
    tokens, state = torch.full((3,), BOS), model.encode(batch.source)
    assert_close(model.step(state, tokens, AttentionRecord())[0], model.step(state, tokens)[0], **EXACT)


def weights_are_probabilities(make: Make) -> None:
    """At every site: a distribution over real positions that are not in the future, exactly 0 everywhere else."""
    model, batch, record = make(), example(), AttentionRecord()
    model(batch, record)
    assert any(site.endswith(".cross") for site in record.sites)
    for site in record.sites:
        weights = record.weights(site)
        assert weights.ndim == 4, site
        assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), rtol=0, atol=1e-6)
        assert (weights >= 0).all(), site
        if site.startswith("decoder") and site.endswith("self"):
            hidden = torch.ones(weights.shape[-2:], dtype=torch.bool).triu(1).expand_as(weights)
        else:
            hidden = (batch.source == PAD)[:, None, None, :].expand_as(weights)
        assert hidden.any(), site
        assert (weights[hidden] == 0).all(), f"{site} looks where it must not"


def steps_record_what_forward_records(make: Make) -> None:
    """The weights at the cross-attentions, step after step, are the rows of the teacher-forced ones."""
    model, batch = make(), example(target_lengths=(5, 5, 5))
    forced, steps = AttentionRecord(), AttentionRecord()
    model(batch, forced)
    state = model.encode(batch.source)
    for tokens in batch.decoder_input.unbind(1):
        _, state = model.step(state, tokens, steps)
    for site in steps.sites:
        if site.endswith(".cross"):
            stepped = torch.cat([looked.weights for looked in steps.calls(site)], 2)
            assert_close(stepped, forced.weights(site), **EXACT)


def evaluation_is_deterministic(make: Make) -> None:
    """Dropout is off in evaluation, and on in training."""
    model, batch = make(), example()
    assert_close(model(batch).logits, model(batch).logits, rtol=0, atol=0)
    model.train()
    assert (model(batch).logits - model(batch).logits).abs().amax() > 1e-4, "no dropout while training"


def an_empty_source_is_harmless(make: Make) -> None:
    """A row of nothing but padding gives finite logits and gradients, and leaves its neighbours alone."""
    model, batch = make(), example()
    source = torch.cat([batch.source, torch.full_like(batch.source[:1], PAD)])
    target = torch.cat([batch.target, batch.target[:1]])
    logits = model(Batch(source, target)).logits
    assert logits.isfinite().all(), "a row without any key gives NaN"
    assert_close(logits[:3], model(batch).logits, **EXACT)
    logits.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters()), "NaN in the backward pass"


def every_parameter_learns(make: Make) -> None:
    """No parameter is left without a gradient (keys' biases may be 0: a softmax does not see what is common)."""
    model, batch = make(), example()
    model.train()
    model(batch).logits.square().sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle, f"no gradient for {idle}"


INVARIANTS = [
    the_future_does_not_leak,
    padding_changes_nothing,
    the_order_of_rows_changes_nothing,
    the_order_of_words_matters,
    a_step_says_what_forward_says,
    beams_say_what_forward_says,
    a_state_is_not_changed_by_a_step,
    looking_changes_nothing,
    weights_are_probabilities,
    steps_record_what_forward_records,
    evaluation_is_deterministic,
    an_empty_source_is_harmless,
    every_parameter_learns,
]
