"""Model folders of tiny random models, one of every kind that can be looked at."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from regard.checkpoint.model_folder import dimensions_of, save_model
from regard.data.dataset import Vocabularies
from regard.data.picture_reader import PictureConfig, PictureReader
from regard.data.tokenizer import TokenizerConfig, learn
from regard.decoding.search import SearchConfig
from regard.models import family
from tiny_captioner import MODELS, save_tiny_captioner
from tiny_folder import TEXTS, save_tiny

GENERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "transformer": ("transformer", {}),
    "experts": ("transformer", {"experts": {"number": 3, "used": 2}}),
    "dot": ("seq2seq", {"score": "dot"}),
    "multiplicative": ("seq2seq", {"score": "multiplicative"}),
    "additive": ("seq2seq", {"score": "additive"}),
    "no attention": ("seq2seq", {"score": "none"}),
    "convs2s": ("convs2s", {}),
    "bytenet": ("bytenet", {"size": 8, "encoder_sets": 1, "decoder_sets": 1}),
    "gnmt": ("gnmt", {"size": 16, "encoder_layers": 3, "decoder_layers": 3}),
    "deep_att": (
        "deep_att",
        {"size": 8, "embedding_size": 8, "encoder_layers": 2, "decoder_layers": 2, "memory_size": 8},
    ),
    "moe": ("moe", {"size": 16, "expert_size": 8, "experts": {"number": 3, "used": 2}}),
    "language model": ("language_model", {"embedding_size": 12, "num_layers": 1, "preset": "lstm"}),
}
LABELLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "text attention": ("text_classifier", {"preset": "attention", "embedding_size": 12, "size": 12}),
    "text plain": ("text_classifier", {"embedding_size": 12, "size": 12}),
    "tagger": ("tagger", {}),
}
CONVOLUTIONS = [{"filters": 4, "pool": 4}]
SEEING: dict[str, tuple[str, dict[str, Any]]] = {
    "image attention": (
        "image_classifier",
        {"convolutions": [{"filters": 4, "pool": 4}], "pooling": "attention", "hidden": []},
    ),
    "image volume": ("image_classifier", {"convolutions": [{"filters": 4, "pool": 4}], "hidden": [8]}),
    "image fully connected": ("image_classifier", {"hidden": [8]}),
    "glimpse": ("glimpse", {"num_glimpses": 3, "patch": 6, "scales": 2, "glimpse_size": 8, "size": 12}),
}
CAPTIONERS = tuple(MODELS)
KINDS = (*GENERATORS, *LABELLERS, *SEEING, *CAPTIONERS)
LABELS = ["animals", "houses", "snow"] * 8


def save_every_kind(root: Path, names: Iterable[str] = KINDS) -> dict[str, Path]:
    return {name: save_kind(root / name.replace(" ", "-"), name) for name in names}


def save_kind(folder: Path, name: str) -> Path:
    if name in GENERATORS:
        kind, settings = GENERATORS[name]
        return save_tiny(folder, kind, **settings)
    if name in CAPTIONERS:
        return save_tiny_captioner(folder, name=name)
    kind, settings = (LABELLERS | SEEING)[name]
    labels = TokenizerConfig(kind="tags" if kind == "tagger" else "labels")
    if name in SEEING:
        vocabularies = Vocabularies(PictureReader(PictureConfig(size=[24, 32])), learn(labels, LABELS))
    else:
        source = TokenizerConfig(kind="bytes" if kind == "tagger" else "words")
        vocabularies = Vocabularies(learn(source, TEXTS), learn(labels, LABELS))
    return _save(folder, kind, settings, vocabularies)


def _save(folder: Path, kind: str, settings: dict[str, Any], vocabularies: Vocabularies) -> Path:
    config = family(kind).Config.model_validate(settings)
    torch.manual_seed(0)
    model = family(kind).build(config, dimensions_of(vocabularies))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter.detach(), std=0.5)
    save_model(folder, model, config=config, vocabularies=vocabularies, search=SearchConfig(beam_size=3))
    return folder
