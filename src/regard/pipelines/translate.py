"""Text in, text out: a model folder becomes a `Translator`, a line becomes a `Translation`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

import regard
from regard.checkpoint.model_folder import LoadedModel, first_of, load_model
from regard.checkpoint.shipped import default_model
from regard.config.document import Document
from regard.config.load import parse
from regard.data.text import clean_line, is_blank, texts_of
from regard.decoding.ensemble import Ensemble
from regard.decoding.penalties import LengthPenalty
from regard.decoding.search import Hypothesis, SearchConfig
from regard.errors import DataError, UsageError
from regard.layers.int8_linear import to_int8
from regard.pipelines.dictionary import replaced
from regard.pipelines.generate import (
    BATCH_SIZE,
    Engine,
    Request,
    Run,
    TorchEngine,
    at_once,
    generate,
    longest_source,
    prefix_ids,
)
from regard.pipelines.rescore import rescore
from regard.pipelines.watch import Link, Watched, hard_links, token_alignment, watch, word_alignment
from regard.protocol import Decodable, Labeller
from regard.symbols import EOS, NAMES, UNK

Precision = Literal["fp32", "int8"]


@dataclass(frozen=True)
class Translation:
    """What became of one text, and how sure the model is of it.

    `score` is the natural log of the output's probability, `normalised_score` the one after length and coverage
    penalties; `token_scores` has one number for each of `tokens` and one for the end of the sentence.
    `alternatives` are the others of the n best. `notice` is what a user should know: that the source was too
    long to be translated, or the output was ended at its greatest length.
    """

    source: str
    text: str
    score: float
    normalised_score: float
    tokens: list[str]
    source_tokens: list[str]
    token_scores: list[float]
    ids: list[int]
    source_ids: list[int]
    alternatives: list["Translation"] = field(default_factory=list)
    notice: str | None = None
    _translator: "Translator | None" = field(default=None, repr=False, compare=False)

    @cached_property
    def attention(self) -> Watched:
        """Every attention by site, from one replay: `attention.sites["decoder.0.cross"]` is (heads, target, source)."""
        assert self._translator is not None
        return self._translator.watch([self])[0]

    def _repr_html_(self) -> str:
        """In a notebook: the text, and which source word each of its words looked at.

        Pictures are made by a layer above this one, so the package itself is asked for whoever makes them.
        """
        assert self._translator is not None
        made: str = regard._translation_html(self._translator, self)
        return made

    @cached_property
    def alignment(self) -> list[Link]:
        """For every target word the source word it used most: (source, target), both from 0.

        Raises:
            UsageError: the model does not attend to its source.
        """
        assert self._translator is not None
        return self._translator.align(self.attention, text=self.source)


class Translator:
    """A model folder, or several that share their vocabularies as an ensemble, ready for text.

    Attention, and with it alignment, is that of the first model. A language model (`reads_source` is False) goes
    on from each text instead of translating it: the output begins with the text.
    """

    def __init__(
        self,
        loaded: Sequence[LoadedModel],
        *,
        precision: Precision = "fp32",
        engine: Engine | None = None,
        run: Run = at_once,
    ) -> None:
        """Use models on the device where they are; another `engine` may do the search, and `run` all else.

        Raises:
            UsageError: the vocabularies differ, or int8 is not for this device.
        """
        first = first_of(loaded)
        _ = first.vocabularies.source_tokenizer  # or this is no model to translate with
        self.loaded = list(loaded)
        self.vocabularies = first.vocabularies
        self.search = first.search
        self.longest = longest_source([each.model for each in loaded])
        self._run = run
        self._models = [model.model.eval() for model in loaded]
        self.reads_source = any(model.reads_source for model in self._models)
        self.engine = engine or torch_engine(self._models, precision)

    def settings(self, **overrides: object) -> SearchConfig:
        """The model's own search settings with `overrides`, checked.

        Raises:
            UsageError: every mistake in `overrides`.
        """
        values = {**self.search.model_dump(mode="json"), **overrides}
        if "early_stopping" not in overrides and (values["sampling"] or values["beam_size"] == 1):
            values["early_stopping"] = False  # the model's own, which has no effect on this search
        config = parse(SearchConfig, Document("search settings", values))
        longest = {"max_length": min(config.max_length, self.longest - 1)}
        # What goes on from a text has no source whose length could bound it.
        return config.model_copy(update=longest if self.reads_source else {**longest, "max_length_extra": self.longest})

    def translate(
        self,
        texts: str | Sequence[str],
        *,
        prefixes: str | Sequence[str] = "",
        batch_size: int = BATCH_SIZE,
        first_row: int = 0,
        **search: object,
    ) -> list[Translation]:
        """One translation a text, in their order; a blank text gives an empty one.

        `search` overrides the model's own settings (`beam_size=1`, `n_best=5`, ...). Outputs begin with the words
        `prefixes`. `first_row` is the number of the first text in a longer input: sampling draws by it. A text of
        more than `longest` pieces is left empty, with a `notice`; nothing is ever cut off.

        Raises:
            TypeError: a text is no str.
            UsageError: a setting is wrong.
            DataError: a text holds half a surrogate pair.
        """
        texts = texts_of(texts)
        prefixes = [prefixes] * len(texts) if isinstance(prefixes, str) else texts_of(prefixes)
        config = self.settings(**search)
        requests = [
            self.request(text, prefix=prefix, row=first_row + row)
            for row, (text, prefix) in enumerate(zip(texts, prefixes, strict=True))
        ]
        asked = [each if len(each.source) <= self.longest else each._replace(source=[EOS]) for each in requests]
        found = generate(self.engine, asked, config, batch_size=batch_size, skip_empty=self.reads_source)
        return [
            self.result(text, request, hypotheses, config)
            for text, request, hypotheses in zip(texts, requests, found, strict=True)
        ]

    def request(self, text: str, *, prefix: str = "", row: int = 0) -> Request:
        """`text`, and the words that its outputs begin with, as an engine takes them.

        Raises:
            DataError: a text holds half a surrogate pair.
            UsageError: the model cannot say the prefix.
        """
        return Request(self.encode_source(text), self.prefix_ids(text, prefix), row)

    def prefix_ids(self, text: str, prefix: str = "") -> list[int]:
        """The ids that outputs for `text` begin with; a model that reads no source goes on from `text` itself.

        Raises:
            DataError: a text holds half a surrogate pair.
            UsageError: the model cannot say the prefix.
        """
        return prefix_ids(self.vocabularies.target, prefix, "" if self.reads_source else text)

    def result(
        self, text: str, request: Request, hypotheses: Sequence[Hypothesis], config: SearchConfig
    ) -> Translation:
        """What an engine found for `request`, as text, the others of the n best as its alternatives."""
        source = list(request.source)
        best, *others = (
            self._translation(text, source, each, notice=self._notice(source, each, config)) for each in hypotheses
        )
        best.alternatives.extend(others)
        return best

    def score(
        self, pairs: Sequence[tuple[str, str]], *, batch_size: int = BATCH_SIZE, first_row: int = 0, **search: object
    ) -> list[Translation]:
        """How probable each second text is as the translation of the first, in their order.

        `first_row` is the number of the first pair in a longer input, for messages.

        Raises:
            TypeError: a text is no str.
            UsageError: a setting is wrong.
            DataError: a text holds half a surrogate pair.
        """
        config = self.settings(**search)
        for pair in pairs:
            if isinstance(pair, str) or len(texts_of(pair)) != 2:
                raise TypeError(f"a pair is (source, target), not {pair!r:.60}")
        penalty = LengthPenalty(config.length_penalty, config.length_normalisation)
        ids = self.encode_pairs(pairs, first_row=first_row)
        scored = self._run(lambda: rescore(self._models, ids, penalty=penalty, batch_size=batch_size))
        return [
            self._translation(text, source, hypothesis)
            for (text, _), (source, _), hypothesis in zip(pairs, ids, scored, strict=True)
        ]

    def encode_pairs(
        self, pairs: Sequence[tuple[str, str]], *, first_row: int = 0
    ) -> list[tuple[list[int], list[int]]]:
        """The ids of both sides of each pair.

        Raises:
            DataError: a text is too long for the model, or holds half a surrogate pair.
        """
        ids = [(self.encode_source(source), self.encode_target(target)) for source, target in pairs]
        for number, sides in enumerate(ids, first_row + 1):
            if max(map(len, sides)) >= self.longest:
                raise DataError(f"pair {number:,} has more than the {self.longest - 1:,} pieces that the model takes")
        return ids

    def can_read(self, text: str) -> bool:
        """Whether `text` is short enough for the model."""
        return len(self.encode_source(text)) <= self.longest

    def stream(self, text: str, *, row: int = 0, **search: object) -> Iterator[str]:
        """One output for `text`, piece by piece as it is found; together the pieces are the whole.

        The best token is taken each time; with `sampling=True` it is drawn (by the seed and `row`).

        Raises:
            TypeError: `text` is no str.
            UsageError: a setting is wrong, or `text` is too long for the model.
            DataError: `text` holds half a surrogate pair.
        """
        (text,) = texts_of([text])
        config, source = self.settings(**search), self.encode_source(text)
        if len(source) > self.longest:
            raise UsageError(f"the text has {len(source)} pieces, but the model reads {self.longest} at most")
        ids, said = list[int](), ""
        for token in self.engine.stream(Request(source, self.prefix_ids(text), row), config):
            ids.append(token)
            now = self.vocabularies.target.decode(ids)
            # A character may need several tokens; until it is whole, it is not said.
            if now.startswith(said) and not now.endswith("\N{REPLACEMENT CHARACTER}"):
                yield now[len(said) :]
                said = now
        whole = self.vocabularies.target.decode(ids)
        yield whole[len(said) :]

    def watch(self, translations: Sequence[Translation]) -> list[Watched]:
        """Every attention of finished translations, from one replay of them all as one batch."""
        pairs = [(each.source_ids, each.ids) for each in translations]
        return self._run(lambda: watch(self._models[0], pairs))

    def look_at_all(self, translations: Sequence[Translation], *, batch_size: int = BATCH_SIZE) -> None:
        """Replay whole batches, alternatives too, so that `attention` and `alignment` need not replay one by one."""
        every = [each for best in translations for each in (best, *best.alternatives) if each.ids]
        every.sort(key=lambda each: -len(each.source_ids))
        for start in range(0, len(every), batch_size):
            batch = every[start : start + batch_size]
            for each, watched in zip(batch, self.watch(batch), strict=True):
                each.__dict__["attention"] = watched

    def align(
        self,
        watched: Watched,
        *,
        text: str | None = None,
        site: str | None = None,
        heads: Sequence[int] | None = None,
    ) -> list[Link]:
        """Links of words, (source, target), read off the mean of `heads` at `site` (see `token_alignment`).

        With `text`, the source, its words are those between spaces, whatever the tokenizer takes for words.

        Raises:
            UsageError: the model does not attend to its source, or has no such site or head.
        """
        weights = token_alignment(watched, site=site, heads=heads)
        source, target = watched.source[:-1], watched.target[:-1]  # without `EOS`
        words = self.vocabularies.source_tokenizer.words(source) if text is None else self._words(text, source)
        return hard_links(word_alignment(weights, words, self.vocabularies.target.words(target)))

    def replace_unknown(self, translation: Translation, dictionary: Mapping[str, str] | None = None) -> Translation:
        """The same with each `<unk>` of the text replaced by what it looked at most (Luong et al. 2015b, "PosUnk").

        That source word's entry in `dictionary`, or the word itself: names and numbers need no translation.

        Raises:
            UsageError: the model does not attend to its source.
        """
        places = [place for place, token in enumerate(translation.ids) if token == UNK]
        words = clean_line(translation.source).split()
        if translation.text.count(NAMES[UNK]) != len(places) or not (places or translation.alternatives):
            return translation
        numbers = self._words(translation.source, translation.source_ids[:-1])
        by_word = word_alignment(token_alignment(translation.attention), numbers, list(range(len(translation.ids))))
        looked = [words[int(by_word[place].argmax())] for place in places]
        text = replaced(translation.text, NAMES[UNK], looked, dictionary or {})
        others = [self.replace_unknown(other, dictionary) for other in translation.alternatives]
        return replace(translation, text=text, alternatives=others)

    def _words(self, text: str, ids: Sequence[int]) -> list[int]:
        """For each of the ids of `text` the number of the word it belongs to, of those between spaces."""
        tokenizer = self.vocabularies.source_tokenizer
        # Word by word, for a tokenizer may put spaces into words: NFKC makes a space and an accent of `´`.
        numbers = [number for number, word in enumerate(clean_line(text).split()) for _ in tokenizer.encode(word)]
        return numbers if len(numbers) == len(ids) else tokenizer.words(ids)  # those of which a space is an id

    def encode_source(self, text: str) -> list[int]:
        """The ids that the model reads for `text`, `EOS` at their end; `EOS` alone of nothing or if it reads none."""
        if is_blank(text) or not self.reads_source:
            return [EOS]
        return [*self.vocabularies.source_tokenizer.encode(clean_line(text)), EOS]

    def encode_target(self, text: str) -> list[int]:
        """The ids of an output, or of the beginning of one, without `EOS`."""
        return self.vocabularies.target.encode(clean_line(text)) if text else []

    def _notice(self, source: list[int], hypothesis: Hypothesis, config: SearchConfig) -> str | None:
        if len(source) > self.longest:
            return f"not translated: its {len(source):,} pieces are more than the model's {self.longest:,}; split it"
        if hypothesis.tokens and len(hypothesis.tokens) >= config.limit(len(source) - 1):
            return f"the output was ended at its greatest length, {len(hypothesis.tokens)} pieces"
        return None

    def _translation(
        self, text: str, source: list[int], hypothesis: Hypothesis, *, notice: str | None = None
    ) -> Translation:
        return Translation(
            source=text,
            text=self.vocabularies.target.decode(hypothesis.tokens),
            score=hypothesis.score,
            normalised_score=hypothesis.normalised,
            tokens=self.vocabularies.target.pieces(hypothesis.tokens),
            source_tokens=self.vocabularies.source_tokenizer.pieces(source[:-1]),
            token_scores=hypothesis.token_scores,
            ids=hypothesis.tokens,
            source_ids=source,
            notice=notice,
            _translator=self,
        )


def torch_engine(models: Sequence[torch.nn.Module], precision: Precision = "fp32") -> TorchEngine:
    """The models themselves; several are an ensemble.

    Raises:
        UsageError: int8 is not for the device where they are.
    """
    device = next(models[0].parameters()).device
    if precision == "int8":
        if device.type != "cpu":
            raise UsageError(f"precision int8 is for CPUs; the model is on {device}")
        models = [to_int8(model) for model in models]
    decodable = [model for model in models if isinstance(model, Decodable)]
    if len(decodable) != len(models):
        if all(isinstance(model, Decodable | Labeller) for model in models):
            raise UsageError(
                "this model labels its source and generates no text; "
                "use `regard classify` (what it looked at: --attention)"
            )
        raise UsageError(
            "this model generates no text; its vectors are for a model that begins with it (training.start_from)"
        )
    return TorchEngine(decodable[0] if len(models) == 1 else Ensemble(decodable), device)


def load(*folders: str | Path, device: str = "cpu", precision: Precision = "fp32") -> Translator:
    """Open a model folder (or the best model of a run folder); several become an ensemble.

    The models that come with the package are opened by their names; none means the one from English to German.

    Searching with `precision="int8"` takes about half the time on a CPU; a few outputs differ from float32's.

    Raises:
        ModelError: a folder is missing, damaged, foreign, or holds what could run code.
        UsageError: the models' vocabularies differ; int8 is not for this device; or none is named and none shipped.
    """
    found = folders or (default_model(),)
    return Translator([load_model(folder, device=device) for folder in found], precision=precision)
