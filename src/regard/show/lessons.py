"""Ten lessons: the lecture's equations, one after the other, worked with the numbers of one sentence.

Each ends in a question; its answer comes from the very tensors, so that whoever reads can be told whether it is right.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regard.layers.positional_encoding import sinusoids
from regard.pipelines.trace import Seen, SentenceTrace
from regard.show.lesson import Lesson, Panel, Place, Question, as_data
from regard.show.sentence import Side
from regard.training.information import entropy, js_divergence, kl_divergence

SHOWN = 3  # summands, components and words that are written out
INTERESTING = 0.75  # a weight: where it is 1, there is little to be seen of a softmax
LARGEST_EXPONENT = 30.0  # beyond it the greatest score is taken away before exp, whose numbers nobody could read
OPTIONS = 5  # of a question with words to choose from


class View(NamedTuple):
    """The sentence, and the cell on which the lessons are worked: query `step` and key `key` of `head` at `site`."""

    trace: SentenceTrace
    queries: list[str]
    keys: list[str]
    target: list[str]
    site: str
    seen: Seen
    head: int
    step: int
    key: int

    @property
    def weights(self) -> Tensor:
        """The weights of the query."""
        return self.seen.weights[self.head, self.step].double()

    @property
    def scores(self) -> Tensor:
        """The scores of the query, in double precision."""
        return self.seen.scores[self.head, self.step].double()

    @property
    def letters(self) -> tuple[str, str, str]:
        """The lecture's letters of query, key and value: s, h, h, or q, k, v where both are projections."""
        summands = self.seen.summands
        projected = summands is not None and summands.energy is None and summands.scale != 1
        return ("q", "k", "v") if projected else ("s", "h", "h")

    def place(self, panel: Panel) -> Place:
        """The view's own cell."""
        return Place(self.site, self.head, self.step, self.key, panel)


def lessons(trace: SentenceTrace, *, source: Side, target: Side, said: Side) -> list[dict[str, Any]]:
    """The lessons of one sentence as plain data; those on attention are left out where the model has none."""
    view = _view(trace, source, target, said)
    made = list[Lesson]()
    if view is not None:
        made += [lesson(view) for lesson in ABOUT_ATTENTION]
    elif trace.handed_over is not None:
        made.append(_bottleneck(trace, source))
    made += [lesson(trace, target.pieces) for lesson in ABOUT_OUTPUT]
    return as_data(made)


def label_lessons(trace: SentenceTrace, *, source: Side, target: Side) -> list[dict[str, Any]]:
    """The same of a label, or of tags: what has to do with saying one word after the other is left out."""
    view = _view(trace, source, target, target)
    made = [] if view is None else [lesson(view) for lesson in ABOUT_LABELS]
    return as_data([*made, _information(trace, target.pieces)])


def _view(trace: SentenceTrace, source: Side, target: Side, said: Side) -> View | None:
    """A cell with much weight, but not all of it, among words that are more than a mark; of attention to the source."""
    cross = [site for site in trace.sites if site.endswith(".cross")]
    if not trace.sites:
        return None
    site = cross[max(0, len(cross) - 2)] if cross else next(iter(trace.sites))
    seen = trace.sites[site]
    queries = (source if site.startswith("encoder") else target).pieces
    keys = (said if site.startswith("decoder") and site.endswith(".self") else source).pieces
    words = torch.tensor([[_is_word(query) and _is_word(key) for key in keys] for query in queries])
    unlike = (seen.weights - INTERESTING).abs().masked_fill(~words, torch.inf)
    head, cell = divmod(int(unlike.argmin()), unlike[0].numel())
    step, key = divmod(cell, len(keys))
    return View(trace, _plain(queries), _plain(keys), _plain(target.pieces), site, seen, head, step, key)


def _is_word(piece: str) -> bool:
    return any(character.isalpha() for character in piece) and not piece.startswith("<")


def _plain(pieces: Sequence[str]) -> list[str]:
    return [piece.removeprefix("▁") or "␣" for piece in pieces]


def _number(value: float, digits: int = 3) -> str:
    """A number as one writes it: a real minus sign, −∞ for what is masked."""
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    text = f"{value:.{digits}f}"
    return ("−" + text[1:]) if text.startswith("-") else text


def _sum_of(parts: Sequence[str], total: int) -> str:
    rest = f" + … {total - len(parts)} more" if total > len(parts) else ""
    return " + ".join(parts) + rest


def _vector(numbers: Tensor, count: int = 4) -> str:
    shown = ", ".join(_number(value) for value in numbers[:count].tolist())
    return f"[{shown}{', …' if numbers.numel() > count else ''}]"


def _choose(words: Sequence[str], best: int) -> list[str]:
    """Some words to choose from, each once, the right one among them, in the sentence's order."""
    unlike = [place for place, word in enumerate(words) if word not in words[:place] and word != words[best]]
    places = sorted([best, *sorted(unlike, key=lambda place: abs(place - best))[: OPTIONS - 1]])
    return [words[place] for place in places]


def _score(view: View) -> Lesson:
    query, key, summands = view.queries[view.step], view.keys[view.key], view.seen.summands
    q, k, _ = view.letters
    lines = [f"Query {q}: “{query}”, step {view.step + 1}. Key {k}: “{key}”, position {view.key + 1} ({view.site})."]
    equation = f"e_i = {q} · {k}_i"
    if summands is not None:
        s = summands.query[view.head, view.step].double()
        h = summands.keys[view.head, view.key].double()
        if summands.energy is not None:
            equation = "e_i = v · tanh(W₁ h_i + W₂ s)"
            terms = summands.energy.double() * (s + h).tanh()
            written = [
                f"{_number(summands.energy[j].item(), 2)}·tanh({_number((s[j] + h[j]).item(), 2)})"
                for j in range(SHOWN)
            ]
            lines.append(f"e = {_sum_of(written, len(s))} = {_number(terms.sum().item())}")
        else:
            equation += " / √d" if summands.scale != 1 else ""
            written = [f"{_number(s[j].item(), 2)}·{_number(h[j].item(), 2)}" for j in range(min(SHOWN, len(s)))]
            by = f", times {summands.scale:.4g}" if summands.scale != 1 else ""
            lines.append(f"e = ({_sum_of(written, len(s))}){by} = {_number((s @ h).item() * summands.scale)}")
    lines.append(f"The model's own number: {_number(view.scores[view.key].item())}.")
    best = int(view.scores.argmax())
    question = Question(
        f"Which word has the highest score for “{query}”?", view.keys[best], 0, _choose(view.keys, best)
    )
    return Lesson("Score: how well does a query match a key?", equation, lines, question, view.place("arithmetic"))


def _softmax(view: View) -> Lesson:
    finite = view.scores[view.scores.isfinite()]
    shift = finite.max().item() if finite.max() > LARGEST_EXPONENT else 0.0  # the weights are the same without it
    total = (finite - shift).exp().sum().item()
    weight, e = view.weights[view.key].item(), view.scores[view.key].item()
    written = f"exp({_number(e)}{f' − {_number(shift)}' if shift else ''})"
    order, v = view.weights.argsort(descending=True)[:SHOWN].tolist(), view.letters[2]
    lines = [
        f"{written} = {_number(math.exp(e - shift))}; the sum over all {len(view.keys)} keys is {_number(total)}.",
        f"softmax(e) = {_number(math.exp(e - shift))} / {_number(total)} = {_number(math.exp(e - shift) / total)} for "
        f"“{view.keys[view.key]}”, and α = {_number(weight)}"
        + (": hard attention gives all of it to the greatest." if view.seen.takes_greatest else "."),
        "a = "
        + _sum_of([f"{_number(view.weights[i].item(), 2)}·{v}({view.keys[i]})" for i in order], len(view.keys))
        + f" = {_vector(view.seen.context[view.head, view.step])}",
        f"Added up again in double precision it differs from the model's own by {view.seen.difference:.1e} at most.",
    ]
    question = Question(
        f"How much weight do all keys but “{view.keys[view.key]}” get together?", 1.0 - weight, tolerance=0.01
    )
    equation = f"α = softmax(e),  a = Σ α_i {v}_i"
    return Lesson("Softmax and weighted sum", equation, lines, question, view.place("arithmetic"))


def _logits(view: View) -> Lesson:
    number = min(view.step, len(view.trace.steps) - 1)
    step, said = view.trace.steps[number], view.target[number]
    size = view.seen.context.size(0) * view.seen.context.size(-1)
    gap = step.alternatives[0].log_prob - step.alternatives[1].log_prob
    equation, way = _way_to_logits(view)
    lines = [
        f"The context a has {size} numbers here. {way}",
        f"z(“{said}”) = {_number(step.logit)}, log Σ exp(z) = {_number(step.log_total)}.",
        f"p(“{said}”) = exp({_number(step.logit)} − {_number(step.log_total)}) = {_number(math.exp(step.log_prob))}.",
        f"The best and the second best differ by {_number(gap)} in their logits.",
    ]
    question = Question(
        "How many times as probable is the best as the second best?", math.exp(gap), 0.05 * math.exp(gap)
    )
    place = view.place("step")._replace(step=number)
    return Lesson("Context, logits, probabilities", equation, lines, question, place)


def _way_to_logits(view: View) -> tuple[str, str]:
    """What becomes of the context. An attention in a stack of layers, `decoder.1.cross`, adds it to what passes."""
    if view.trace.search is None:
        return "p(y) = softmax(V f(a))", "Through f, hidden layers if there are any, it becomes one logit a label."
    if view.site.split(".")[1].isdigit():
        return "p(y) = softmax(V s)", (
            "It is added to the decoder's state, passes the layers above, and the top state s becomes one logit for "
            "each token."
        )
    return "p(y) = softmax(V f([a; s]))", (
        "The decoder reads it beside its own state, [a; s]. f is what lies between them and the logits: a layer, "
        "tanh(W_c [a; s]), in Luong et al. (2015); elsewhere more of them."
    )


def _query_key_value(view: View) -> Lesson:
    context, summands = view.seen.context, view.seen.summands
    heads, size = context.size(0), context.size(-1)
    lines = [f"Every vector x is asked for three things: a query, a key, a value. Here: {heads} × {size} numbers each."]
    if summands is not None and view.seen.values is not None:
        lines += [
            f"q(“{view.queries[view.step]}”) = {_vector(summands.query[view.head, view.step])}",
            f"k(“{view.keys[view.key]}”) = {_vector(summands.keys[view.head, view.key])}",
            f"v(“{view.keys[view.key]}”) = {_vector(view.seen.values[view.head, view.key])}",
        ]
    scaled = summands is not None and summands.energy is None and summands.scale != 1
    lines.append(
        "A sum of d products grows like √d, so the score is divided by it."
        if scaled
        else "In this model keys and values are the same states, and the score is not divided by √d."
    )
    width = size if summands is None else summands.query.size(-1)
    question = Question(f"d is {width}. What is √d?", math.sqrt(width), tolerance=0.02)
    equation = "q = x W^Q, k = x W^K, v = x W^V"
    return Lesson("Queries, keys, values", equation, lines, question, view.place("arithmetic"))


def _heads(view: View) -> Lesson:
    rows = view.seen.weights[:, view.step].double()
    spread = [entropy(row / row.sum(), "bits").item() for row in rows]
    lines = [
        f"{view.site} has {len(rows)} head{'s' * (len(rows) > 1)}. Their first choice for “{view.queries[view.step]}”:"
    ]
    lines += [
        f"head {number}: “{view.keys[int(row.argmax())]}” with {_number(row.max().item())}, entropy {bits:.2f} bits"
        for number, (row, bits) in enumerate(zip(rows, spread, strict=True), 1)
    ]
    sharpest = min(range(len(rows)), key=spread.__getitem__)
    question = (
        Question(
            "Which head looks most sharply, that is with the least entropy?",
            f"head {sharpest + 1}",
            options=[f"head {number}" for number in range(1, len(rows) + 1)],
        )
        if len(rows) > 1
        else Question(
            f"Spread evenly over {len(view.keys)} keys, how many bits would the entropy be?",
            math.log2(len(view.keys)),
            tolerance=0.02,
        )
    )
    equation = "concat(head_1, …, head_h) W^O"
    return Lesson("Heads: several subspaces", equation, lines, question, view.place("heads"))


def _mask(view: View) -> Lesson:
    own = [site for site in view.trace.sites if site.startswith("decoder") and site.endswith(".self")]
    number, length = max(0, min(view.step, len(view.target) - 2)), len(view.target)
    if own:
        scores = view.trace.sites[own[0]].scores[0, number]
        lines = [
            f"{own[0]}, step {number + 1}: e = [{', '.join(_number(value, 2) for value in scores.tolist())}]",
            "exp(−∞) = 0: what has not been said yet gets no weight, and the other weights still sum to 1.",
        ]
        place = Place(own[0], 0, number, number, "map")
    else:
        lines = [
            "This decoder reads its own words one after the other, so there is no future to hide.",
            "In self-attention all words are there at once while training; the future's scores become −∞.",
        ]
        place = view.place("map")
    question = Question(
        f"The output has {length} tokens. How many keys are hidden from the query of step {number + 1}?",
        float(length - 1 - number),
    )
    return Lesson("Masking with −∞", "e_i = −∞ for i > t", lines, question, place)


def _positions(view: View) -> Lesson:
    table = sinusoids(0, 4, 8)
    lines = [
        "Attention itself does not know word order, so the lecture's Transformer adds a vector for the position to "
        "each embedding. (With rotary positions, queries and keys are turned by such angles instead.)"
    ]
    lines += [
        f"PE({place}) for “{word}” = {_vector(table[place])}" for place, word in enumerate(view.keys[: len(table)])
    ]
    question = Question("PE(pos, 0) = sin(pos). What is it at position 2?", math.sin(2.0), tolerance=0.01)
    equation = "PE(pos, 2i) = sin(pos / 10000^(2i/d))"
    return Lesson("Positional encoding", equation, lines, question, view.place("map"))


def _add_and_norm(view: View) -> Lesson:
    context = view.seen.context[view.head, view.step].double()
    value = context if view.seen.values is None else view.seen.values[view.head, view.key].double()
    added = value + context
    mean, deviation = added.mean().item(), added.std(correction=0).item()
    lines = [
        f"Take v(“{view.keys[view.key]}”) as x and the context a as what the sub-layer says: x + a = {_vector(added)}",
        f"Mean over its {len(added)} components {_number(mean)}, standard deviation {_number(deviation)}.",
        f"(x + a − mean) / deviation = {_vector((added - mean) / deviation)}; a gain and a bias, both learnt, follow.",
    ]
    question = Question("What is the mean of the components after normalising?", 0.0, tolerance=0.001)
    return Lesson("Add and normalise", "norm(x + sublayer(x))", lines, question, view.place("arithmetic"))


def _beam(trace: SentenceTrace, target: Sequence[str]) -> Lesson:
    words, log_probs = _plain(target), [step.log_prob for step in trace.steps]
    lines = ["The score of an output is the sum of its tokens' log-probabilities:"]
    lines.append(
        " ".join(f"{word} {_number(value, 2)}" for word, value in zip(words, log_probs, strict=True))
        + f"; sum {_number(sum(log_probs))}."
    )
    number = min(1, len(trace.tree) - 1)
    if trace.tree and trace.search is not None:
        kept = sum(choice.fate == "kept" for choice in trace.tree[number])
        lines.append(
            f"A beam of {trace.search.beam_size}: in step {number + 1} {len(trace.tree[number])} continuations were "
            f"weighed and {kept} of them live on. The others are the dead branches of the tree."
        )
    count = min(2, len(log_probs))
    question = Question(
        f"What is the score of the first {count} token{'s' * (count > 1)} together?",
        sum(log_probs[:count]),
        tolerance=0.02,
    )
    place = Place(None, 0, max(0, count - 1), 0, "tree")
    return Lesson("Beam search keeps a few alternatives", "log p(y) = Σ log p(y_t | y_<t, x)", lines, question, place)


def _information(trace: SentenceTrace, target: Sequence[str]) -> Lesson:
    mean = -sum(step.log_prob for step in trace.steps) / len(trace.steps)
    number = max(range(len(trace.steps)), key=lambda step: trace.steps[step].entropy)
    lines = [
        f"Cross entropy of this output: {_number(mean)} nats a {'token' if trace.search else 'label'}.",
        f"The model is least sure at step {number + 1}, “{_plain(target)[number]}”: "
        f"entropy {_number(trace.steps[number].entropy)} nats.",
    ]
    cross = [seen for site, seen in trace.sites.items() if site.endswith(".cross")]
    if cross and len(trace.steps) > 1:
        p, q = (row / row.sum() for row in cross[-1].weights[0, :2].double())
        lines.append(
            f"Attention of step 1 against step 2: KL {_number(kl_divergence(p, q, 'bits').item())} bits, "
            f"JSD {_number(js_divergence(p, q, 'bits').item())} bits: symmetric, and at most 1."
        )
    question = Question(
        "Perplexity is exp(cross entropy in nats). What is it here?", math.exp(mean), 0.02 * math.exp(mean)
    )
    place = Place(None, 0, number, 0, "step")
    equation = "C(P, Q) = −Σ p log q,  KL = C − E,  JSD = ½ KL(P‖M) + ½ KL(Q‖M)"
    return Lesson("Cross entropy, KL divergence, JSD", equation, lines, question, place)


def _bottleneck(trace: SentenceTrace, source: Side) -> Lesson:
    vector = trace.handed_over
    assert vector is not None
    lines = [
        f"The {len(source.pieces)} tokens of the source become {vector.numel()} numbers: {_vector(vector)}",
        "That is all the decoder ever learns of them, at every step the same: there is nothing to look at.",
    ]
    question = Question("How many numbers would a source of twice the length become?", float(vector.numel()))
    equation = "s_0 = f(h_n)"
    return Lesson("The bottleneck", equation, lines, question, Place(None, 0, 0, 0, "map"))


ABOUT_ATTENTION: Sequence[Callable[[View], Lesson]] = (
    _score, _softmax, _logits, _query_key_value, _heads, _mask, _positions, _add_and_norm,
)  # fmt: skip
ABOUT_OUTPUT: Sequence[Callable[[SentenceTrace, Sequence[str]], Lesson]] = (_beam, _information)
ABOUT_LABELS: Sequence[Callable[[View], Lesson]] = (_score, _softmax, _logits)
