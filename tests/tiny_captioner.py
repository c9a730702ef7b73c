"""A model folder of a tiny random captioner, and pictures of scenes for it."""

from pathlib import Path

import torch

from regard.checkpoint.model_folder import dimensions_of, save_model
from regard.data.dataset import Vocabularies
from regard.data.picture_reader import PictureConfig, PictureReader
from regard.data.tokenizer import TokenizerConfig, learn
from regard.decoding.search import SearchConfig
from regard.evaluation.scenes import Scene, draw_scene, make_scenes
from regard.models import family

MODELS: dict[str, dict[str, object]] = {
    "captioner": {"embedding_size": 6, "decoder_size": 8},
    "captioner hard": {"embedding_size": 6, "decoder_size": 8, "attention": "hard"},
    "captioner none": {"embedding_size": 6, "decoder_size": 8, "attention": "none"},
    "captioner transformer": {"size": 8, "num_layers": 2, "num_heads": 2, "feed_forward_size": 8},
}


def save_tiny_captioner(folder: Path, *, seed: int = 0, name: str = "captioner") -> Path:
    texts = [scene.caption for scene in make_scenes(60, seed=1)]
    reader = PictureReader(PictureConfig(size=[24, 32]))
    words = Vocabularies(reader, learn(TokenizerConfig(kind="words"), texts))
    encoder = {"kind": "resnet", "stem_width": 4, "widths": [4, 5], "depths": [1, 1]}
    chapter = family("captioner_transformer" if name == "captioner transformer" else "captioner")
    config = chapter.Config.model_validate({"encoder": encoder} | MODELS[name])
    torch.manual_seed(seed)
    model = chapter.build(config, dimensions_of(words))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter.detach(), std=0.8)
    search = SearchConfig(beam_size=3, max_length=7)
    save_model(folder, model, config=config, vocabularies=words, search=search)
    return folder


def write_scenes(folder: Path, number: int = 3) -> list[Scene]:
    scenes = make_scenes(number, seed=5)
    folder.mkdir()
    for place, scene in enumerate(scenes):
        draw_scene(scene).save(folder / f"{place}.png")
    lines = [f"{place}.png\t{scene.caption}" for place, scene in enumerate(scenes)]
    (folder / "captions.tsv").write_text("\n".join(["image\tcaption", *lines]) + "\n")
    return scenes
