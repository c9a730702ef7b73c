"""A sentence's trace as one JSON document: what the page draws, what `regard show -o x.json` writes.

Arrays of numbers are little-endian float32 in base64, {"shape": [...], "base64": "..."}: every bit of the model's own.
What only the arithmetic of a cell needs (scores, queries, keys, values, context) is apart, in the `details` of a
site, so that a page can fetch it when somebody asks.
"""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import regard
from regard.attention.score import Summands
from regard.checkpoint.model_folder import LoadedModel
from regard.data.tokenizer import Tokenizer
from regard.decoding.beam import Hypothesis
from regard.decoding.penalties import LengthPenalty
from regard.decoding.trace import Choice
from regard.layers.experts import Routing
from regard.pipelines.caption import Captioner, Pixels
from regard.pipelines.classify import Classifier
from regard.pipelines.classify_pictures import HasGrid, PictureClassifier
from regard.pipelines.trace import Seen, SentenceTrace, Step, influence
from regard.pipelines.trace_labels import label_influence
from regard.pipelines.translate import Translator
from regard.show.glimpse_lessons import glimpse_lessons
from regard.show.lessons import label_lessons, lessons
from regard.show.picture import in_colour
from regard.show.sentence import Side, kind_of, side_of, sides_of
from regard.symbols import BOS, EOS

FORMAT = 1
# Words of the longest sentence whose words are left out one by one without being asked to.
INFLUENCE_UP_TO = 40
# Characters of numbers behind the weights that a file may have; of a sentence of 100 words it holds a part.
MOST_DETAILS = 24 << 20
COARSE = 8  # rows and columns of the regions of a picture that is seen as a whole
Document = dict[str, Any]


def document(translator: Translator, trace: SentenceTrace, *, text: str, name: str = "") -> Document:
    """All but the `details`: sentence, steps, tree, weights of every attention, experts, lessons."""
    source = side_of(translator.vocabularies.source_tokenizer, trace.source)
    made = _document(trace, translator.vocabularies.target, source) | {
        "model": describe(translator.loaded[0], name),
        "text": text,
    }
    has_cross = any(site.endswith(".cross") for site in trace.sites)
    if not has_cross and 1 < len(set(source.words)) <= INFLUENCE_UP_TO:
        made["influence"] = influences(translator, trace)
    return made


def label_document(classifier: Classifier, trace: SentenceTrace, *, text: str, name: str = "") -> Document:
    """The same of a text that got a label, or its words tags."""
    source = side_of(classifier.vocabularies.source_tokenizer, trace.source)
    made = _document(trace, classifier.vocabularies.target, source) | {
        "model": describe(classifier.loaded[0], name),
        "text": text,
        "steps_are": "tag" if classifier.gives_tags else "label",
    }
    if len(set(source.words)) <= INFLUENCE_UP_TO:
        made["influence"] = label_influences(classifier, trace)
    return made


def picture_document(
    pictured: Captioner | PictureClassifier, trace: SentenceTrace, pixels: Pixels, *, name: str = ""
) -> Document:
    """The same of a picture: its regions are the keys, and `picture` is what the model saw of it."""
    grid, file = grid_of(pictured, trace), BytesIO()
    names = [f"row {row + 1}, column {column + 1}" for row in range(grid[0]) for column in range(grid[1])]
    Image.fromarray(in_colour(pixels)).save(file, format="PNG")
    address = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    made = _document(trace, pictured.vocabularies.target, Side(names, list(range(len(names))))) | {
        "model": describe(pictured.loaded[0], name),
        "text": "",
        "picture": {
            "address": address,
            "height": pictured.reader.height,
            "width": pictured.reader.width,
            "rows": grid[0],
            "columns": grid[1],
        },
    }
    if trace.search is None:
        made["steps_are"] = "label" if trace.glimpses is None else "glimpse"
    if trace.glimpses is not None:
        made["glimpses"] = array(trace.glimpses)
    return made


def grid_of(pictured: Captioner | PictureClassifier, trace: SentenceTrace) -> tuple[int, int]:
    """Rows and columns of a picture's regions: those that the model attends to, else some to be left out."""
    to_source = [seen for site, seen in trace.sites.items() if sides_of(kind_of(site)[0])[1] == "source"]
    if not to_source:
        return min(COARSE, pictured.reader.height), min(COARSE, pictured.reader.width)
    model = pictured.model
    return model.grid if isinstance(model, HasGrid) else pictured.reader.grid(to_source[0].weights.size(2))


def _document(trace: SentenceTrace, tokenizer: Tokenizer, source: Side) -> Document:
    target = side_of(tokenizer, trace.target)
    said = side_of(tokenizer, [BOS, *trace.target[:-1]])  # what the decoder has read
    sides = {"source": source, "target": target, "said": said}
    return {
        "format": FORMAT,
        "version": regard.__version__,
        "translation": tokenizer.decode(trace.hypothesis.tokens),
        "score": trace.hypothesis.score,
        "normalised": trace.hypothesis.normalised,
        "sides": {which: {"pieces": side.pieces, "words": side.words} for which, side in sides.items()},
        "ids": {"source": trace.source, "target": trace.target, "prefix": trace.prefix},
        "others": [_other(tokenizer, other) for other in trace.others],
        "steps": [_step(tokenizer, step) for step in trace.steps],
        "tree": _tree(tokenizer, trace),
        "search": None if trace.search is None else trace.search.model_dump(mode="json"),
        "steps_are": "token",
        "sites": [_site(name, seen) for name, seen in trace.sites.items()],
        "experts": [_routing(routing) for routing in trace.routings],
        "handed_over": None if trace.handed_over is None else array(trace.handed_over),
        "influence": None,
        "picture": None,
        "glimpses": None,
        "lessons": _lessons(trace, source, target, said),
    }


def _lessons(trace: SentenceTrace, source: Side, target: Side, said: Side) -> list[Document]:
    if trace.glimpses is not None:
        return glimpse_lessons(trace, target.pieces)
    if trace.search is None:
        return label_lessons(trace, source=source, target=target)
    return lessons(trace, source=source, target=target, said=said)


def describe(loaded: LoadedModel, name: str = "") -> Document:
    """What a reader wants to know of the model: its name, its kind, its settings."""
    config = loaded.config.model_dump(mode="json")
    return {
        "name": name or _short(loaded.folder),
        "kind": config.get("kind", ""),
        "settings": config,
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
    }


def _short(folder: Path) -> str:
    """`runs/small/model` is `small`: every model folder of a run is called model."""
    folder = folder.resolve()
    return folder.parent.name if folder.name in ("model", "best", "latest") else folder.name


def details(seen: Seen) -> Document:
    """What the weights and the context of one site were made of; without summands only the scores."""
    made: Document = {"scores": array(seen.scores), "context": array(seen.context)}
    if seen.summands is not None and seen.values is not None:
        made["values"] = array(seen.values)
        made |= _summands(seen.summands)
    return made


def with_details(made: Document, trace: SentenceTrace) -> Document:
    """The document with the `details` of its sites, for a file; those to the source first, until it is full."""
    order = sorted(trace.sites, key=lambda site: not site.endswith(".cross"))
    chosen, left = dict[str, Document](), MOST_DETAILS
    for site in order:
        detail = details(trace.sites[site])
        left -= sum(len(each["base64"]) for each in detail.values() if isinstance(each, dict))
        if left < 0:
            break
        chosen[site] = detail
    return made | {"details": chosen}


def influences(translator: Translator, trace: SentenceTrace) -> Document:
    """Nats that each target token loses without each source word, with the numbers of these words."""
    words = side_of(translator.vocabularies.source_tokenizer, trace.source).words
    return array(influence(translator.loaded[0].model, trace.source, words, trace.target[:-1]))


def label_influences(classifier: Classifier, trace: SentenceTrace) -> Document:
    """Nats that each label loses without each word."""
    words = side_of(classifier.vocabularies.source_tokenizer, trace.source).words
    return array(label_influence(classifier, trace.source, words, trace.target))


def array(tensor: Tensor) -> Document:
    """The numbers of `tensor`, bit for bit as float32."""
    numbers = tensor.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4")
    return {"shape": list(tensor.shape), "base64": base64.b64encode(numbers.tobytes()).decode("ascii")}


def _site(name: str, seen: Seen) -> Document:
    kind, layer = kind_of(name)
    queries, keys = sides_of(kind)
    return {
        "name": name,
        "kind": kind,
        "layer": layer,
        "queries": queries,
        "keys": keys,
        "weights": array(seen.weights),
        "difference": seen.difference,
        "takes_greatest": seen.takes_greatest,
        "form": "unknown" if seen.summands is None else "dot" if seen.summands.energy is None else "additive",
    }


def _summands(summands: Summands) -> Document:
    made = {"query": array(summands.query), "keys": array(summands.keys), "scale": summands.scale}
    return made if summands.energy is None else made | {"energy": array(summands.energy)}


def _step(tokenizer: Tokenizer, step: Step) -> Document:
    tokens = [alternative.token for alternative in step.alternatives]
    pieces = tokenizer.pieces(tokens)
    return {
        "log_prob": step.log_prob,
        "logit": step.logit,
        "log_total": step.log_total,
        "entropy": step.entropy,
        "alternatives": [
            {"token": each.token, "piece": piece, "log_prob": each.log_prob, "chance": each.chance}
            for each, piece in zip(step.alternatives, pieces, strict=True)
        ],
    }


def _other(tokenizer: Tokenizer, hypothesis: Hypothesis) -> Document:
    return {
        "text": tokenizer.decode(hypothesis.tokens),
        "ids": hypothesis.tokens,
        "score": hypothesis.score,
        "normalised": hypothesis.normalised,
    }


def _tree(tokenizer: Tokenizer, trace: SentenceTrace) -> list[list[Document]]:
    """Every choice of every step; one that ended also has the score by which it is ranked."""
    if trace.search is None:
        return []
    penalty = LengthPenalty(trace.search.length_penalty, trace.search.length_normalisation)
    return [
        [_choice(tokenizer, choice, length, penalty) for choice in choices if choice.fate != "forbidden"]
        for length, choices in enumerate(trace.tree, 1)
    ]


def _choice(tokenizer: Tokenizer, choice: Choice, length: int, penalty: LengthPenalty) -> Document:
    made = {
        "token": choice.token,
        "piece": tokenizer.pieces([choice.token])[0],
        "parent": choice.parent,
        "score": choice.score,
        "fate": choice.fate,
    }
    if choice.token == EOS:
        made["normalised"] = penalty(torch.tensor(choice.score), torch.tensor(length)).item()
    return made


def _routing(routing: Routing) -> Document:
    half = routing.site.split(".")[0]
    return {"name": routing.site, "side": "source" if half == "encoder" else "target", "gates": array(routing.gates[0])}
