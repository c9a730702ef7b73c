"""The Transformer's configuration, sizes, ties and initialisation; that it learns what it should and only so."""

import pytest
import torch
from pydantic import ValidationError

from checks import search
from checks import transformer as checks
from checks.making import SOURCE, TARGET, example, transformer_model
from regard.attention.record import AttentionRecord
from regard.errors import DataError, UsageError
from regard.models import family, kinds, transformer
from regard.protocol import Batch, Decodable, Dimensions
from regard.symbols import BOS, EOS


def num_parameters(config, vocabulary=37_000):
    with torch.device("meta"):
        model = transformer.build(config, Dimensions(vocabulary, vocabulary, True))
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("preset", "vocabulary", "millions"), [
    ("base", 37_000, 63.1), ("big", 37_000, 214.2), ("base", 32_000, 60.5), ("big", 32_000, 209.1),
])  # fmt: skip
def test_the_paper_s_models_have_the_paper_s_numbers_of_parameters(preset, vocabulary, millions):
    assert round(num_parameters(transformer.Config(preset=preset), vocabulary) / 1e6, 1) == millions


def test_parameters_are_those_counted_by_hand():
    size, hidden, vocabulary = 8, 12, 37_000
    attention, norm = 4 * (size * size + size), 2 * size
    feed_forward = 2 * size * hidden + hidden + size
    expected = (
        vocabulary * size + 2 * (attention + feed_forward + 2 * norm) + 3 * (2 * attention + feed_forward + 3 * norm)
    )
    config = {"size": size, "num_heads": 2, "feed_forward_size": hidden, "encoder_layers": 2, "decoder_layers": 3}
    config["norm"] = "post"
    assert num_parameters(transformer.Config(**config)) == expected
    assert num_parameters(transformer.Config(**config | {"norm": "pre"})) == expected + 2 * norm
    assert num_parameters(transformer.Config(**config, tied=False)) == expected + 2 * vocabulary * size
    assert num_parameters(transformer.Config(**config, positions="learned", max_length=50)) == expected + 2 * 50 * size
    assert num_parameters(transformer.Config(**config, positions="rotary")) == expected


def test_a_preset_gives_what_is_not_said():
    small, base = transformer.Config(), transformer.Config(preset="base")
    assert small == transformer.Config(preset="small")
    assert (small.norm, small.dropout) == ("pre", 0.2)
    assert (base.norm, base.dropout, base.positions) == ("post", 0.1, "sinusoidal"), "the paper's"
    tiny = transformer.Config(preset="tiny", dropout=0.2)
    assert (tiny.size, tiny.num_layers, tiny.num_heads, tiny.feed_forward_size) == (128, 4, 4, 256)
    assert tiny.dropout == 0.2
    assert transformer.Config(**tiny.model_dump()) == tiny
    model = transformer.build(transformer.Config(preset="tiny", encoder_layers=2), Dimensions(9, 9))
    assert (len(model.encoder), len(model.decoder)) == (2, 4)


@pytest.mark.parametrize(("settings", "message"), [
    ({"num_heads": 3}, r"num_heads \(3\) must divide size \(256\) evenly"),
    ({"num_layers": None}, "num_layers is null; give it, or both"),
    ({"preset": ["base"]}, "'tiny', 'small', 'base' or 'big'"),
    ({"positions": "learned"}, "learned positions need a max_length"),
    ({"max_length": 100}, "max_length has no effect with sinusoidal positions"),
    ({"max_length": 100, "positions": "rotary"}, "max_length has no effect with rotary positions"),
    ({"size": 6, "num_heads": 2, "positions": "rotary"}, "rotary positions need heads of an even size; .* is 3"),
    ({"encoder_layers": 2, "decoder_layers": 2, "num_layers": 3}, "num_layers has no effect"),
    ({"preset": "huge"}, "'tiny', 'small', 'base' or 'big'"),
    ({"dropout": 1.0}, "less than 1"),
    ({"layers": 3}, "Extra inputs"),
])  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        transformer.Config(**settings)


@pytest.mark.parametrize("check", [
    checks.encoder_without_positions_is_permutation_equivariant,
    checks.tied_matrices_are_one,
    checks.the_memory_is_projected_once,
    search.search_scores_are_the_model_s,
], ids=lambda check: check.__name__)  # fmt: skip
def test_it_keeps_what_only_a_transformer_must(check):
    check(transformer_model)


def test_an_untrained_model_knows_nothing():
    checks.an_untrained_model_knows_nothing()


def test_rotary_positions_are_relative():
    checks.rotary_positions_are_relative()


def test_it_can_be_decoded():
    assert isinstance(transformer_model(), Decodable)


def test_every_attention_has_its_site():
    record = AttentionRecord()
    transformer_model()(example(), record)
    assert record.sites == [
        "encoder.0.self", "encoder.1.self",
        "decoder.0.self", "decoder.0.cross", "decoder.1.self", "decoder.1.cross", "decoder.2.self", "decoder.2.cross",
    ]  # fmt: skip
    assert record.weights("decoder.2.cross").shape == (3, 2, 6, 6)


def test_a_text_beyond_learned_positions_is_refused_while_stepping_too():
    model = transformer_model(positions="learned", max_length=6)
    model(example())
    with pytest.raises(DataError, match="a text of 8 tokens"):
        model(example(source_lengths=(8,), target_lengths=(4,)))
    state = model.encode(example().source)
    for _ in range(6):
        _, state = model.step(state, torch.full((3,), BOS))
    with pytest.raises(DataError, match="a text of 7 tokens"):
        model.step(state, torch.full((3,), BOS))


def test_dropout_falls_where_the_paper_lets_it_fall():
    model = transformer.build(transformer.Config(preset="tiny", dropout=0.25), Dimensions(9, 9))
    probabilities = {
        name: module.probability for name, module in model.named_modules() if hasattr(module, "probability")
    }
    assert {p for name, p in probabilities.items() if "norm" in name or name == "dropout"} == {0.25}
    assert {p for name, p in probabilities.items() if "feed_forward.dropout" in name} == {0.0}
    assert len(probabilities) == 1 + 4 * 2 + 4 * 3 + 8


def test_half_precision_is_close():
    model, batch = transformer_model(dimensions=Dimensions(SOURCE, TARGET)).float(), example()
    with torch.no_grad():
        exact = model(batch).logits
        with torch.autocast("cpu", torch.bfloat16):
            half = model(batch).logits
            state = model.encode(batch.source)
            stepped, _ = model.step(state, batch.decoder_input[:, 0])
    assert half.dtype == torch.bfloat16
    assert (half - exact).abs().mean() < 0.05 * exact.abs().mean()
    assert (stepped - half[:, 0]).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_it_learns_a_batch_by_heart_and_says_it_again(norm):
    torch.manual_seed(1)
    config = transformer.Config(size=32, num_layers=3, num_heads=4, feed_forward_size=64, dropout=0.0, norm=norm)
    model = transformer.build(config, Dimensions(SOURCE, TARGET))
    batch = example()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3, betas=(0.9, 0.98))
    for _ in range(120):
        optimizer.zero_grad()
        logits = model(batch).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=0)
        loss.backward()
        optimizer.step()
    assert loss < 0.01
    model.eval()
    tokens, state = torch.full((3,), BOS), model.encode(batch.source)
    for labels in batch.labels.unbind(1):
        logits, state = model.step(state, tokens)
        tokens = torch.where(labels != 0, logits.argmax(-1), labels)
        assert tokens.equal(labels)


def learn_to_reverse(model) -> float:
    """Train on saying 4 random symbols backwards; the share of new ones said without a mistake."""
    generator = torch.Generator().manual_seed(2)

    def pairs(number):
        words = torch.randint(EOS + 1, 10, (number, 4), generator=generator)
        end = torch.full((number, 1), EOS)
        return Batch(torch.cat([words, end], 1), torch.cat([torch.full_like(end, BOS), words.flip(1), end], 1))

    optimizer = torch.optim.Adam(model.parameters(), 3e-3, betas=(0.9, 0.98))
    for _ in range(200):
        batch = pairs(64)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch).logits.flatten(0, 1), batch.labels.flatten()).backward()
        optimizer.step()
    batch = pairs(200)
    return float((model(batch).logits.argmax(-1) == batch.labels).all(1).float().mean())


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
def test_it_learns_to_reverse_and_without_positions_it_cannot(positions):
    def fresh():
        torch.manual_seed(3)
        config = transformer.Config(
            size=32, num_layers=1, num_heads=2, feed_forward_size=64, dropout=0.0, positions=positions
        )
        return transformer.build(config, Dimensions(10, 10, True))

    blind = fresh()
    if positions == "rotary":
        blind.encoder[0].self_attention.rotary = None
    else:
        blind.source_positions = checks.NoPositions()
    assert learn_to_reverse(fresh()) > 0.95
    assert learn_to_reverse(blind) < 0.5


def test_only_modules_of_the_package_are_kinds_of_model():
    assert family("transformer") is transformer
    assert "transformer" in kinds()
    for kind, advice in (("transfomer", "did you mean 'transformer'?"), ("os", "there are: "), ("../x", "there are: ")):
        with pytest.raises(UsageError, match=f"no model of kind '{kind}'; {advice}".replace("?", r"\?")):
            family(kind)
