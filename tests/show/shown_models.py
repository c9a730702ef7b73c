from pathlib import Path

import torch

from regard.checkpoint.model_folder import dimensions_of, save_model
from regard.data.dataset import Vocabularies
from regard.data.tokenizer import TokenizerConfig, learn
from regard.decoding.search import SearchConfig
from regard.models import family

SENTENCES = ["ein mann spielt gitarre auf der bühne", "two dogs play in the snow", "a man plays guitar on stage"] * 4


def save(folder: Path, kind: str, **settings: object) -> Path:
    tokenizer = learn(TokenizerConfig(kind="bpe", size=70), SENTENCES)
    vocabularies = Vocabularies(tokenizer, tokenizer)
    config = family(kind).Config.model_validate(settings)
    torch.manual_seed(3)
    model = family(kind).build(config, dimensions_of(vocabularies))
    search = SearchConfig(beam_size=2, max_length=12)
    save_model(folder, model, config=config, vocabularies=vocabularies, search=search)
    return folder
