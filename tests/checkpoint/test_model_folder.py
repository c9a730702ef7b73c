"""A model folder gives back the model, bit for bit, or says what is wrong with it; opening it never runs code."""

import io
import json
import os
import pickle
import random
import resource
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_models import Parts, UnflushedStorage, forge, forge_config, small, tied

from regard.checkpoint.card import Card, Metric
from regard.checkpoint.manifest import MANIFEST, verify
from regard.checkpoint.model_folder import CONFIG, README, SEARCH, dimensions_of, load_model, save_model
from regard.checkpoint.weights import Tensors
from regard.data.batch import Batch
from regard.data.picture_reader import PictureConfig, PictureReader
from regard.errors import ModelError, UserError
from regard.models import family, kinds, reads_pictures
from regard.protocol import Labeller, Model
from regard.symbols import SPACE

BATCH = Batch(torch.tensor([[4, 5, 6, 3]]), torch.tensor([[2, 7, 5, 3]]))


@pytest.fixture
def parts() -> Parts:
    return small()


@pytest.fixture
def folder(parts: Parts, tmp_path: Path) -> Path:
    return parts.save(tmp_path / "model")


def logits(model: Model, batch: Batch | None = None) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(suited(model) if batch is None else batch).logits


def suited(model: Model) -> Batch:
    """Two words, for a model that reads words."""
    if model.source_kind != "bytes":
        return BATCH
    target = BATCH.target[:, :3] if isinstance(model, Labeller) else BATCH.target
    return Batch(torch.tensor([[4, SPACE, 6, 3]]), target)


def same_state(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, shared: bool) -> None:
    parts = small(shared=shared)
    loaded = load_model(parts.save(tmp_path / "model"))
    assert same_state(loaded.model, parts.model)
    assert torch.equal(logits(loaded.model), logits(parts.model))
    assert loaded.config == parts.config
    assert loaded.search == parts.search
    assert loaded.vocabularies == parts.vocabularies
    assert (loaded.vocabularies.source is loaded.vocabularies.target) == shared
    assert not loaded.model.training


@pytest.mark.parametrize("kind", kinds())
def test_a_model_of_every_kind_is_saved_and_loaded(tmp_path: Path, kind: str) -> None:
    module, base = family(kind), small(shared=False)
    few = {name: 16 for name in ("size", "hidden_size", "embedding_size") if name in module.Config.model_fields}
    config, vocabularies, batch = module.Config(**few), base.vocabularies, None
    if reads_pictures(kind):
        vocabularies = vocabularies._replace(source=PictureReader(PictureConfig(size=[32, 40])))
        batch = BATCH._replace(source=torch.rand(1, 3, 32, 40))
    model = module.build(config, dimensions_of(vocabularies))
    parts = base._replace(model=model, config=config, vocabularies=vocabularies)
    folder = parts.save(tmp_path / "model", storage=UnflushedStorage())
    loaded = load_model(folder)
    assert loaded.config == config
    assert same_state(loaded.model, model)
    assert torch.equal(logits(loaded.model, batch), logits(model, batch))


def test_tied_tensors_are_stored_once_and_are_one_tensor_again(parts: Parts, folder: Path) -> None:
    groups = [names for names in tied(parts.model) if len(names) > 1]
    assert groups, "the test needs a model with tied weights"
    stored = load_file(folder / "model.safetensors")
    assert len(stored) == len(tied(parts.model))
    loaded = load_model(folder).model
    assert tied(loaded) == tied(parts.model)
    assert len(list(loaded.parameters())) == len(list(parts.model.parameters()))


def test_tied_tensors_may_be_stored_under_any_of_their_names_but_not_with_two_values(
    parts: Parts, folder: Path
) -> None:
    names = next(names for names in tied(parts.model) if len(names) > 1)
    state = load_file(folder / "model.safetensors")
    kept = next(name for name in names if name in state)
    other = next(name for name in names if name != kept)
    state[other] = state[kept] + 1
    with pytest.raises(ModelError, match="are one tensor in the model, but differ"):
        load_model(forge(folder, {"model.safetensors": b"".join(map(bytes, Tensors(state).chunks()))}))
    del state[kept]
    loaded = load_model(forge(folder, {"model.safetensors": b"".join(map(bytes, Tensors(state).chunks()))})).model
    assert torch.equal(loaded.state_dict()[kept], state[other])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_stored_in_another_precision_load_as_single_precision(parts: Parts, tmp_path: Path, dtype) -> None:
    loaded = load_model(parts.save(tmp_path / "model", dtype=dtype)).model
    for name, tensor in parts.model.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        assert torch.equal(loaded.state_dict()[name], tensor.to(dtype).float())


def test_loading_leaves_the_random_generator_alone(folder: Path) -> None:
    before = torch.get_rng_state()
    load_model(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_safetensors_library_reads_our_weights(parts: Parts, folder: Path) -> None:
    state = parts.model.state_dict()
    for name, tensor in load_file(folder / "model.safetensors").items():
        assert torch.equal(tensor, state[name])


def test_a_model_folder_is_replaced_but_no_other_folder(parts: Parts, folder: Path, tmp_path: Path) -> None:
    newer = small(seed=1)
    newer.save(folder)
    assert same_state(load_model(folder).model, newer.model)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not a model folder, so it is not replaced"):
        parts.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_the_card_tells_where_the_model_comes_from(parts: Parts, tmp_path: Path) -> None:
    card = Card(
        title="English to German",
        data={"train": "1234abcd"},
        metrics=[Metric(name="BLEU", value=38.25, data="test|2016", signature="nrefs:1|case:mixed")],
        command="regard train recipe.yaml",
        licence="CC BY-NC-SA 4.0",
        notes=["Weights of step 12"],
    )
    folder = parts.save(tmp_path / "model", card=card)
    page = (folder / README).read_text()
    for text in (
        "# English to German",
        "- train: `1234abcd`",
        "| BLEU | 38.25 | test\\|2016 | nrefs:1\\|case:mixed |",
        "regard train recipe.yaml",
        "Licence: CC BY-NC-SA 4.0",
        "- Weights of step 12",
        "kind `transformer` with",
    ):
        assert text in page
    assert load_model(folder).card == card


def test_a_user_may_edit_the_readme_and_add_a_licence_but_nothing_else(folder: Path) -> None:
    (folder / README).write_text("my own words")
    (folder / "LICENSE").write_text("CC0")
    (folder / ".gitattributes").write_text("* binary")
    load_model(folder)
    (folder / "source.json").write_text("{}")
    with pytest.raises(ModelError, match=r"source\.json: not listed in manifest\.json"):
        load_model(folder)


def test_c07_a_flipped_bit_is_refused_or_harmless(parts: Parts, folder: Path) -> None:
    chance = random.Random(7)
    names = sorted(path.name for path in folder.iterdir())
    expected = logits(parts.model)
    refused = 0
    for trial in range(60):
        path = folder / names[trial % len(names)]
        content = path.read_bytes()
        place = chance.randrange(len(content) * 8)
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            loaded = load_model(folder)
        except ModelError:
            refused += 1
        else:
            assert path.name in (README, MANIFEST), f"bit {place} of {path.name} was not noticed"
            assert torch.equal(logits(loaded.model), expected)
            assert loaded.search == parts.search
            assert loaded.vocabularies == parts.vocabularies
        path.write_bytes(content)
    assert refused >= 45
    load_model(folder)


@pytest.mark.parametrize("name", [CONFIG, "model.safetensors", SEARCH, "tokenizer.json", MANIFEST])
def test_c06_a_truncated_file_is_refused_by_name(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for length in (0, 1, len(content) // 2, len(content) - 2):
        (folder / name).write_bytes(content[:length])
        with pytest.raises(ModelError, match=name) as caught:
            load_model(folder)
        if name != MANIFEST:
            assert f"{length:,} bytes, but manifest.json says {len(content):,}" in str(caught.value)


def test_c08_a_missing_renamed_or_swapped_file_is_refused(parts: Parts, folder: Path, tmp_path: Path) -> None:
    other = small(seed=5).save(tmp_path / "other")
    own = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="SHA-256"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors: missing"):
        load_model(folder)
    (folder / "weights.safetensors").write_bytes(own)
    with pytest.raises(ModelError, match=r"weights\.safetensors: not listed"):
        load_model(folder)
    (folder / "weights.safetensors").unlink()
    (tmp_path / "elsewhere").write_bytes(own)
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"model\.safetensors: missing"):
        load_model(folder)


def test_a_folder_without_manifest_says_so(folder: Path, tmp_path: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(ModelError, match=r"no manifest\.json, so this is not a complete folder"):
        load_model(folder)
    with pytest.raises(ModelError, match="no such model folder"):
        load_model(tmp_path / "nowhere")


class Bomb:
    """Unpickling this makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def bombs(canary: Path) -> list[bytes]:
    archive = io.BytesIO()
    torch.save(Bomb(canary), archive)
    return [archive.getvalue(), *(pickle.dumps(Bomb(canary), protocol) for protocol in range(6))]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", CONFIG, SEARCH, "pytorch_model.bin", "a.pt"])
def test_l01_a_pickle_is_refused_unread_whatever_its_name(folder: Path, tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    for bomb in bombs(canary):
        forge(folder, {name: bomb})
        with pytest.raises(ModelError, match=name):
            load_model(folder)
    assert not canary.exists()


def test_l01_a_pickle_instead_of_a_folder_is_named_as_such(tmp_path: Path) -> None:
    for number, bomb in enumerate(bombs(tmp_path / "canary")[:1] + bombs(tmp_path / "canary")[3:]):
        path = tmp_path / f"model-{number}"
        path.write_bytes(bomb)
        with pytest.raises(ModelError, match="can run code when it is opened, so it was not opened") as caught:
            load_model(path)
        assert caught.value.exit_code == 4
    assert not (tmp_path / "canary").exists()


def test_l01_a_folder_of_pickles_from_elsewhere_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text("{}")
    (tmp_path / "hub" / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: a pickle or archive"):
        load_model(tmp_path / "hub")


HOSTILE = {
    "huge layers": lambda d: d["model"].update(num_layers=10**9),
    "huge size": lambda d: d["model"].update(size=2**40),
    "large size": lambda d: d["model"].update(size=2**16, num_layers=60),
    "large layers": lambda d: d["model"].update(size=2**10, num_layers=60),
    "large feed-forward": lambda d: d["model"].update(feed_forward_size=2**16),
    "large vocabulary": lambda d: d["dimensions"].update(source=2**24, target=2**24),
    "other layers": lambda d: d["model"].update(num_layers=3),
    "huge vocabulary": lambda d: d["dimensions"].update(source=10**12),
    "other vocabulary": lambda d: d["dimensions"].update(source=11, target=11),
    "negative": lambda d: d["model"].update(size=-16),
    "string": lambda d: d["model"].update(size="16"),
    "extra key": lambda d: d["model"].update(hook="os.system"),
    "unknown kind": lambda d: d["model"].update(kind="os"),
    "path as kind": lambda d: d["model"].update(kind="../cli/main"),
    "kind of another type": lambda d: d["model"].update(kind=["transformer"]),
    "no kind": lambda d: d["model"].pop("kind"),
    "model is a list": lambda d: d.update(model=[]),
    "extra block": lambda d: d.update(auto_map={"AutoModel": "evil.Model"}),
    "later format": lambda d: d.update(format=2),
    "no dimensions": lambda d: d.update(dimensions={}),
    "unknown dimension": lambda d: d["dimensions"].update(depth=3),
    "dimensions of another type": lambda d: d["dimensions"].update(shared=7),
    "preset of another type": lambda d: d["model"].update(preset=[]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_l05_a_hostile_configuration_is_refused_before_anything_is_allocated(folder: Path, name: str) -> None:
    forge_config(folder, HOSTILE[name])
    start, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 500_000  # KiB


def test_an_unknown_kind_is_answered_with_the_known_ones(folder: Path) -> None:
    forge_config(folder, HOSTILE["unknown kind"])
    with pytest.raises(ModelError, match=r"no model of kind 'os'; this regard has: .*transformer"):
        load_model(folder)


def test_shapes_are_compared_before_the_weights_are_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise AssertionError("used weights that do not fit the configuration")

    monkeypatch.setattr("regard.checkpoint.model_folder.fill", explode)
    forge_config(folder, lambda document: document["model"].update(size=24))
    with pytest.raises(ModelError, match=r"shape \[\d+, 16\] in the file, \[\d+, 24\] by the configuration"):
        load_model(folder)


def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(parts: Parts, folder: Path) -> None:
    for value in (float("nan"), float("inf")):
        state = load_file(folder / "model.safetensors")
        next(iter(state.values())).view(-1)[3] = value
        content = b"".join(map(bytes, Tensors(state).chunks()))
        with pytest.raises(ModelError, match="NaN or infinite"):
            load_model(forge(folder, {"model.safetensors": content}))
        with torch.no_grad():
            next(parts.model.parameters()).view(-1)[3] = value
        with pytest.raises(ModelError, match="NaN or infinite"):
            parts.save(folder)


def test_c12_a_tokenizer_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    other = small(letters="abcdefgh").save(tmp_path / "other")
    with pytest.raises(ModelError, match="they belong to different models"):
        load_model(forge(folder, {"tokenizer.json": (other / "tokenizer.json").read_bytes()}))


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_l06_a_damaged_tokenizer_with_a_forged_manifest_is_refused_or_read(tmp_path: Path, kind: str) -> None:
    folder = small(kind=kind).save(tmp_path / "model", storage=UnflushedStorage())
    path = next(folder.glob("tokenizer.*"))
    content = path.read_bytes()
    chance = random.Random(3)
    damaged = [content[: len(content) * part // 6] for part in range(6)]
    for _ in range(20):
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        damaged.append(bytes(flipped))
    refused = 0
    for text in damaged:
        try:
            load_model(forge(folder, {path.name: text}))
        except ModelError:
            refused += 1
    assert refused >= 6


def test_a_verified_folder_may_hold_only_what_its_manifest_lists(folder: Path) -> None:
    assert sorted(verify(folder)) == [README, CONFIG, "model.safetensors", SEARCH, "tokenizer.json"]
    document = json.loads((folder / MANIFEST).read_bytes())
    document["files"]["../../etc/passwd"] = {"bytes": 1, "sha256": "0"}
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(ModelError, match="is not a plain file name"):
        verify(folder)


def test_a_state_dictionary_is_saved_like_its_model(parts: Parts, tmp_path: Path) -> None:
    save_model(
        tmp_path / "model",
        parts.model.state_dict(),
        config=parts.config,
        vocabularies=parts.vocabularies,
        search=parts.search,
    )
    assert same_state(load_model(tmp_path / "model").model, parts.model)
