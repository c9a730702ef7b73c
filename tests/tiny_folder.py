"""Model folders of tiny random models that say something else for every source."""

from pathlib import Path

import torch

from regard.checkpoint.model_folder import save_model
from regard.data.dataset import Vocabularies
from regard.data.tokenizer import TokenizerConfig, learn
from regard.decoding.search import SearchConfig
from regard.models import convs2s, family, seq2seq, transformer
from regard.protocol import Dimensions
from regard.symbols import UNK

TEXTS = [
    "the cat sees the dog",
    "die Katze sieht den Hund",
    "a small house stands there",
    "ein kleines Haus steht dort",
    "the dogs play in the snow",
    "die Hunde spielen im Schnee",
] * 4


def vocabularies(*, shared: bool = True, size: int = 70) -> Vocabularies:
    source = learn(TokenizerConfig(kind="bpe", size=size), TEXTS)
    return Vocabularies(source, source if shared else learn(TokenizerConfig(kind="words"), TEXTS))


def save_tiny(
    folder: Path,
    kind: str = "seq2seq",
    *,
    seed: int = 0,
    words: Vocabularies | None = None,
    search: SearchConfig | None = None,
    unknown: float = 0.0,
    **settings: object,
) -> Path:
    words = words or vocabularies()
    dimensions = Dimensions(words.source.size, words.target.size, words.source is words.target)
    torch.manual_seed(seed)
    if kind == "transformer":
        small = {"size": 16, "num_layers": 2, "num_heads": 2, "feed_forward_size": 16, "tied": False}
        post_norm = {"norm": "post"}  # matrices as large as below need the norm of every sum
        config = transformer.Config(**small | post_norm | settings)
        model = transformer.build(config, dimensions)
    elif kind == "convs2s":
        blocks = [convs2s.Blocks(layers=2, size=16, width=3)]
        config = convs2s.Config(embedding_size=12, encoder=blocks, decoder=blocks, **settings)
        model = convs2s.build(config, dimensions)
    elif kind == "seq2seq":
        config = seq2seq.Config(embedding_size=12, encoder_size=16, decoder_size=16, **settings)
        model = seq2seq.build(config, dimensions)
    else:
        config = family(kind).Config.model_validate(settings)
        model = family(kind).build(config, dimensions)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter.detach(), std=0.8)
    if unknown:  # what is added to the logit of the word that stands for all others
        model.readout.bias.data[UNK] += unknown
    search = search or SearchConfig(beam_size=3, max_length_extra=4)
    save_model(folder, model, config=config, vocabularies=words, search=search)
    return folder
