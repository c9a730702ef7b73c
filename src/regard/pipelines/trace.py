"""One sentence seen whole: what the search weighed, what else might have been said, and every attention in its parts.

The search keeps its tree, which costs next to nothing. Attention comes from one teacher-forced replay of the output
with a record, so that what is shown are the tensors that made it; each context is added up once more to prove it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from regard.attention.attention import Attention
from regard.attention.override import Override, OverridingRecord, record_of
from regard.attention.record import AttentionRecord, Looked
from regard.attention.score import Summands
from regard.data.batching import pad
from regard.data.text import is_blank
from regard.decoding.penalties import LengthPenalty
from regard.decoding.sampling import chances
from regard.decoding.search import Hypothesis, SearchConfig, search
from regard.decoding.trace import Choice, Trace
from regard.errors import DataError, UsageError
from regard.layers.experts import Routing
from regard.pipelines.caption import Captioner, Pixels
from regard.pipelines.generate import prefix_ids
from regard.pipelines.rescore import rescore
from regard.pipelines.translate import Translator
from regard.protocol import Batch, Decodable, Model, State
from regard.symbols import BOS, EOS
from regard.trees import tensors

NUM_ALTERNATIVES = 10
Around = Callable[[Decodable], Decodable]  # puts something between the search and the model


class Alternative(NamedTuple):
    """A token that might have been said, and the natural log of its probability.

    `chance` is the probability with which it is drawn, after temperature, top k and top p; None without sampling.
    """

    token: int
    log_prob: float
    chance: float | None = None


class Step(NamedTuple):
    """One token that was said: its log-probability and logit, the log of the sum of all exp(logit), and the others.

    `log_prob` = `logit` - `log_total`. `entropy` is that of the whole distribution, in nats.
    """

    token: int
    log_prob: float
    logit: float
    log_total: float
    entropy: float
    alternatives: list[Alternative]


class Seen(NamedTuple):
    """One attention of the sentence, (heads, queries, ...), with all that its weights and its context were made of.

    `difference` is the greatest between the context that the model used and the one added up in double precision
    from the shown weights and values. `summands` is None where the model keeps only its weights. With `takes_greatest`
    (hard attention) all the weight is at the greatest score; else weights are the softmax of the scores.
    """

    scores: Float[Tensor, "heads queries keys"]
    weights: Float[Tensor, "heads queries keys"]
    context: Float[Tensor, "heads queries size"]
    values: Float[Tensor, "heads keys size"] | None
    summands: Summands | None
    difference: float
    takes_greatest: bool = False


class SentenceTrace(NamedTuple):
    """All that there is to see of one sentence, or of one picture.

    `source` (empty for a picture) and `target` end in `EOS`; `steps` has one entry for each token of `target`. `tree`
    is empty where nothing was searched (a given output, sampling); else the best choices of each step, best first.
    `handed_over` is the one vector by which a model without attention knows its source, `routings` which experts a
    token asked. A model that gives labels has no `search`, its `target` is the label, or the tag of every word, or what
    it would have answered after each of its `glimpses`: (top, left, height, width) in pixels, the finest scale first.
    """

    source: list[int]
    target: list[int]
    prefix: list[int]
    hypothesis: Hypothesis
    others: list[Hypothesis]
    steps: list[Step]
    tree: list[list[Choice]]
    sites: dict[str, Seen]
    handed_over: Float[Tensor, " size"] | None
    routings: list[Routing]
    search: SearchConfig | None
    glimpses: Float[Tensor, "steps scales 4"] | None = None


@runtime_checkable
class AsksExperts(Protocol):
    """A model that can say which experts its tokens used."""

    def routings(self, batch: Batch) -> list[Routing]:
        """One entry for each layer of experts."""
        ...


class Recorded:
    """A model whose every step is recorded, and perhaps overridden: what the search takes for the model itself."""

    def __init__(self, model: Decodable, record: AttentionRecord) -> None:
        self._model = model
        self._record = record

    def encode(self, source: Tensor, record: AttentionRecord | None = None) -> State:
        """The model's own, with the record."""
        return self._model.encode(source, self._record)

    def step(
        self, state: State, tokens: Int[Tensor, " rows"], record: AttentionRecord | None = None
    ) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """The model's own, with the record; what it adds there is added to `record` as well."""
        before = {site: len(self._record.calls(site)) for site in self._record.sites}
        result = self._model.step(state, tokens, self._record)
        if record is not None:
            for site in self._record.sites:
                for call in self._record.calls(site)[before.get(site, 0) :]:
                    record.add(site, *(each for each in call if each is not None))
        return result


@torch.inference_mode()
def trace_sentence(
    translator: Translator,
    text: str,
    *,
    prefix: str | Sequence[int] = "",
    target: str | None = None,
    override: Override | None = None,
    around: Around | None = None,
    **settings: object,
) -> SentenceTrace:
    """Translate `text` and keep everything; with `target`, look at that output instead of searching for one.

    The output begins with `prefix`: words, or ids without `BOS` (which a model that goes on from `text` takes in its
    place). With `override`, one row of one attention is as given, in the search and in the replay alike. The search
    takes what `around` makes of the model for the model itself; `settings` are its own.

    Raises:
        UsageError: a setting is wrong, the model cannot say the prefix, or the overridden row is not there.
        DataError: `text` is blank, or longer than the model reads; its output is empty.
    """
    model = translator.loaded[0].model
    source = translator.encode_source(text)
    if is_blank(text):
        raise DataError("there is nothing to look at in an empty sentence; give one with a word in it")
    if len(source) > translator.longest:
        raise DataError(f"the sentence has {len(source):,} pieces, but the model reads {translator.longest:,} at most")
    config = translator.settings(**settings)
    tensor = pad([source])
    check_override(model, override)
    words, ids = (prefix, []) if isinstance(prefix, str) else ("", list(prefix))
    said = ids or translator.prefix_ids(text, words)
    if target is None:
        found = _look(model, tensor, config, said, override, around)
    else:
        penalty = LengthPenalty(config.length_penalty, config.length_normalisation)
        (given,) = rescore([model], [(source, translator.encode_target(target))], penalty=penalty)
        found = _seen_again(model, tensor, config, [given], said, override)
    return found._replace(source=source, handed_over=found.handed_over if translator.reads_source else None)


@torch.inference_mode()
def trace_picture(
    captioner: Captioner,
    pixels: Pixels,
    *,
    prefix: str | Sequence[int] = "",
    override: Override | None = None,
    around: Around | None = None,
    **settings: object,
) -> SentenceTrace:
    """Say what a picture shows and keep everything; the keys are its regions, row after row, and `source` is empty.

    Raises:
        UsageError: a setting is wrong, the model cannot say the prefix, or the overridden row is not there.
    """
    check_override(captioner.model, override)
    source = captioner.reader.tensor(pixels[None])
    said = prefix_ids(captioner.vocabularies.target, prefix) if isinstance(prefix, str) else list(prefix)
    return _look(captioner.model, source, captioner.settings(**settings), said, override, around)


def _look(
    model: Model,
    source: Tensor,
    config: SearchConfig,
    prefix: list[int],
    override: Override | None,
    around: Around | None,
) -> SentenceTrace:
    """Search, keeping the tree, and look at the winner."""
    assert isinstance(model, Decodable)
    device, tree, record = next(model.parameters()).device, Trace(), record_of(override)
    searched: Decodable = model if override is None else Recorded(model, record)
    if around is not None:
        searched = around(searched)
    found = search(searched, source.to(device), config, prefixes=[prefix] if prefix else None, trace=tree)[0]
    if isinstance(record, OverridingRecord):
        record.check_used()
    return _seen_again(model, source, config, found, prefix, override)._replace(tree=tree.steps.get(0, []))


def _seen_again(
    model: Model,
    source: Tensor,
    config: SearchConfig,
    hypotheses: list[Hypothesis],
    prefix: list[int],
    override: Override | None,
) -> SentenceTrace:
    best, *others = hypotheses
    batch, record, logits = replay(model, source, best.tokens, override)
    return SentenceTrace(
        source=[],
        target=[*best.tokens, EOS],
        prefix=prefix,
        hypothesis=best,
        others=others,
        steps=steps_of(logits, batch.labels[0], config),
        tree=[],
        sites=seen(model, record),
        handed_over=_handed_over(model, batch.source),
        routings=model.routings(batch) if isinstance(model, AsksExperts) else [],
        search=config,
    )


def replay(
    model: Model, source: Tensor, target: Sequence[int], override: Override | None = None
) -> tuple[Batch, AttentionRecord, Float[Tensor, "length vocabulary"]]:
    """Say `target` (no `BOS` or `EOS`) of the one row of `source` once more: batch, record, logits of every step."""
    batch = Batch(source, pad([[BOS, *target, EOS]])).to(next(model.parameters()).device)
    record = record_of(override)
    return batch, record, model(batch, record).logits[0].float()


def steps_of(
    logits: Float[Tensor, "length vocabulary"],
    labels: Int[Tensor, " length"],
    config: SearchConfig | None = None,
    *,
    first: int = 0,
) -> list[Step]:
    """What was said at every step, and what else might have been; `first` is the token of the first logit."""
    log_probs = logits.log_softmax(-1)
    finite = log_probs.masked_fill(log_probs.isinf(), 0.0)
    entropies = -(log_probs.exp() * finite).sum(-1)
    best = log_probs.topk(min(NUM_ALTERNATIVES, logits.size(1)))
    drawn = _drawn(log_probs, config).gather(1, best.indices).tolist() if config and config.sampling else None
    chosen = [each.gather(1, labels[:, None] - first)[:, 0].tolist() for each in (log_probs, logits)]
    columns = (labels, logits.logsumexp(-1), entropies, best.indices + first, best.values)
    return [
        Step(token, log_prob, logit, total, entropy, _alternatives(tokens, values, drawn and drawn[number]))
        for number, (log_prob, logit, token, total, entropy, tokens, values) in enumerate(
            zip(*chosen, *(column.tolist() for column in columns), strict=True)
        )
    ]


def _drawn(log_probs: Tensor, config: SearchConfig) -> Tensor:
    return chances(log_probs, temperature=config.temperature, top_k=config.top_k, top_p=config.top_p)


def _alternatives(tokens: list[int], log_probs: list[float], chances: list[float] | None) -> list[Alternative]:
    if chances is None:
        return list(map(Alternative, tokens, log_probs))
    return list(map(Alternative, tokens, log_probs, chances))


def seen(model: nn.Module, record: AttentionRecord) -> dict[str, Seen]:
    """Every attention of the one source of `record`, each with one call."""
    return {site: _seen(model, site, record.looked(site)) for site in record.sites}


def _seen(model: nn.Module, site: str, looked: Looked) -> Seen:
    scores, weights, context = (each[0].float().cpu() for each in (looked.scores, looked.weights, looked.context))
    if looked.query is None or looked.keys is None or looked.values is None:
        return Seen(scores, weights, context, None, None, 0.0)
    values = looked.values[0]
    again = looked.weights[0].double() @ values.double()
    attention = _attentions(model)[site]
    summands = attention.score.summands(looked.query, looked.keys)
    parts = (summands.query[0].float().cpu(), summands.keys[0].float().cpu())
    energy = None if summands.energy is None else summands.energy.float().cpu()
    difference = (again - looked.context[0].double()).abs().max().item()
    made_of = Summands(*parts, summands.scale, energy)
    return Seen(scores, weights, context, values.float().cpu(), made_of, difference, attention.takes_greatest)


def _attentions(model: nn.Module) -> dict[str, Attention]:
    return {module.site: module for module in model.modules() if isinstance(module, Attention)}


def check_override(model: nn.Module, override: Override | None) -> None:
    """Whether `model` can be made to look as `override` says; head, query and keys are checked where they are used.

    Raises:
        UsageError: it has no such attention, or the weights are no weights.
    """
    if override is None:
        return
    sites = _attentions(model)
    if override.site not in sites:
        raise UsageError(f"this model has no attention {override.site!r}; it has {', '.join(sites) or 'none'}")
    if override.head < 0 or override.query < 0:
        raise UsageError("the overridden head and query are counted from 0")
    if override.weights.min() < 0 or not override.weights.sum().isclose(torch.ones(())):
        raise UsageError("overriding weights must be 0 or more and sum to 1")


def _handed_over(model: Model, source: Tensor) -> Tensor | None:
    """The decoder's first states, and the vector it sees at every step, where they are all that it gets; else None."""
    if not isinstance(model, Decodable):
        return None
    memory, carry = model.encode(source)
    is_vector = isinstance(memory, Tensor) and memory.ndim == 2  # (batch, size): the same whatever the source's length
    if memory is not None and not is_vector:
        return None
    vectors = [each.flatten().float().cpu() for each in tensors(carry) if each.is_floating_point()]
    return torch.cat([memory.flatten().float().cpu(), *vectors] if is_vector else vectors)


@torch.inference_mode()
def influence(
    model: Model, source: Sequence[int], words: Sequence[int], target: Sequence[int]
) -> Float[Tensor, "target words"]:
    """How much less probable each target token is, in nats, without each of the source words (leave one out).

    `source` ends in `EOS`, which is always left in; `words` are the numbers of its words (`Tokenizer.words`). It
    needs no attention, and does not trust it: whoever wants to know what a model depends on takes something away.
    """
    numbers = sorted(set(words[: len(source) - 1]))
    if not numbers:
        return torch.zeros(len(target) + 1, 0)
    without = [[token for token, word in zip(source, words, strict=True) if word != left_out] for left_out in numbers]
    penalty = LengthPenalty(0.0)
    whole, *parts = rescore([model], [(each, target) for each in [list(source), *without]], penalty=penalty)
    lost = [torch.tensor(whole.token_scores) - torch.tensor(part.token_scores) for part in parts]
    return torch.stack(lost, 1)


@torch.inference_mode()
def next_token_distributions(
    model: Model, source: Sequence[int] | Tensor, target: Sequence[int]
) -> Float[Tensor, "length vocabulary"]:
    """P(token | source, target so far) at every step of `target`, which is given without `EOS`.

    `source` is ids, or a picture (1, channels, height, width).
    """
    one = source if isinstance(source, Tensor) else pad([source])
    return replay(model, one, target)[2].double().softmax(-1).cpu()
