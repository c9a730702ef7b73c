"""The page as text, the trace as JSON, the lessons: what can be told without a browser."""

import base64
import gzip
import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from shown_models import save

from regard.pipelines.trace import trace_sentence
from regard.pipelines.translate import load
from regard.show.document import document, with_details
from regard.show.page import FOLDER, page
from regard.show.terminal import lesson_text
from regard.symbols import EOS

TEXT = "ein mann spielt gitarre"
HOSTILE = '</script><img src=x onerror=alert(1)> /*TRACE*/ /*MODULES*/ "&$x$'


def numbers(array: dict) -> np.ndarray:
    return np.frombuffer(base64.b64decode(array["base64"]), dtype="<f4").reshape(array["shape"])


def data_of(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="trace">(.*?)</script>', html, re.DOTALL)[1])


@pytest.fixture(scope="module")
def trace(translator):
    return trace_sentence(translator, TEXT, target="a man plays guitar")


@pytest.fixture(scope="module")
def whole(translator, trace):
    return with_details(document(translator, trace, text=TEXT), trace)


def test_the_document_carries_the_very_numbers(trace, whole):
    assert [site["name"] for site in whole["sites"]] == list(trace.sites)
    for site in whole["sites"]:
        seen, detail = trace.sites[site["name"]], whole["details"][site["name"]]
        assert np.array_equal(numbers(site["weights"]), seen.weights.numpy())
        assert np.array_equal(numbers(detail["scores"]), seen.scores.numpy())
        assert np.array_equal(numbers(detail["values"]), seen.values.numpy())
        assert np.array_equal(numbers(detail["query"]), seen.summands.query.numpy())
        rows, columns = (len(whole["sides"][site[side]]["pieces"]) for side in ("queries", "keys"))
        assert site["weights"]["shape"][1:] == [rows, columns]
    assert len(whole["steps"]) == len(whole["ids"]["target"]) == len(whole["sides"]["target"]["pieces"])


def test_the_document_is_json_that_any_reader_takes(whole):
    assert json.loads(json.dumps(whole, allow_nan=False)) == json.loads(json.dumps(whole))


def test_words_on_the_page_never_become_markup(translator):
    trace = trace_sentence(translator, HOSTILE, target=HOSTILE)
    html = page(document(translator, trace, text=HOSTILE))
    assert "<img" not in html
    assert html.count("</script>") == 3  # import map, data, start
    assert data_of(html)["text"] == HOSTILE


def test_the_page_asks_nobody_for_anything(whole):
    html = page(whole)
    assert not re.findall(r"""(?:src|href)=["']?(?!data:)[^"'\s>]""", html)
    assert "connect-src 'none'" in html
    for module in FOLDER.rglob("*.js"):
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", module.read_text(encoding="utf-8")))
        assert all(address.startswith("http://www.w3.org/") for address in addresses), module  # names, not places


def test_the_vendored_runtime_is_what_the_documents_say():
    table = (Path(__file__).parents[2] / "docs" / "dependencies.md").read_text(encoding="utf-8")
    for path in (FOLDER / "vendor").glob("*.js"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in table, path


def test_the_scripts_are_light():
    together = b"".join(path.read_bytes() for path in sorted(FOLDER.rglob("*.js")))
    assert len(gzip.compress(together)) < 60_000


def test_there_are_ten_lessons_each_with_a_question_that_its_numbers_answer(whole):
    lessons = whole["lessons"]
    assert len(lessons) == 10
    for lesson in lessons:
        question = lesson["question"]
        if isinstance(question["answer"], str):
            assert question["answer"] in question["options"]
        else:
            assert math.isfinite(question["answer"])
            assert question["tolerance"] >= 0


def lesson(whole: dict, title: str) -> dict:
    (found,) = [each for each in whole["lessons"] if title in each["title"]]
    return found


def test_answers_are_those_of_the_tensors(trace, whole):
    place = lesson(whole, "Score")["place"]
    seen = trace.sites[place["site"]]
    row = seen.scores[place["head"], place["step"]]
    pieces = [piece.removeprefix("▁") or "␣" for piece in whole["sides"]["source"]["pieces"]]
    assert lesson(whole, "Score")["question"]["answer"] == pieces[int(row.argmax())]
    rest = 1 - seen.weights[place["head"], place["step"], place["key"]].item()
    assert lesson(whole, "Softmax")["question"]["answer"] == pytest.approx(rest)
    best, second = (math.exp(each.log_prob) for each in trace.steps[place["step"]].alternatives[:2])
    assert lesson(whole, "logits")["question"]["answer"] == pytest.approx(best / second, rel=1e-4)
    total = sum(step.log_prob for step in trace.steps)
    perplexity = math.exp(-total / len(trace.steps))
    assert lesson(whole, "Cross entropy")["question"]["answer"] == pytest.approx(perplexity)
    own = trace.sites["decoder.0.self"].scores[0, place["step"]]
    assert lesson(whole, "Masking")["question"]["answer"] == (own == -math.inf).sum().item()


def test_lessons_of_an_empty_output_stay_within_it(tmp_path):
    translator = load(save(tmp_path / "mute", "seq2seq", score="dot", encoder_size=16, decoder_size=16))
    torch.nn.init.constant_(translator.loaded[0].model.readout.bias[EOS : EOS + 1], 99.0)
    made = document(translator, trace_sentence(translator, TEXT), text=TEXT)
    assert made["translation"] == ""
    for each in made["lessons"]:
        assert min(each["place"]["step"], each["place"]["key"]) >= 0
        assert "step 0" not in each["question"]["text"]


@pytest.mark.parametrize(
    ("kind", "settings", "equation"),
    [
        ("transformer", {}, "p(y) = softmax(V s)"),
        ("convs2s", {}, "p(y) = softmax(V s)"),
        ("seq2seq", {"score": "dot", "encoder_size": 16, "decoder_size": 16}, "p(y) = softmax(V f([a; s]))"),
        ("gnmt", {"size": 16, "encoder_layers": 3, "decoder_layers": 3}, "p(y) = softmax(V f([a; s]))"),
    ],
)
def test_how_the_context_becomes_logits_is_said_of_each_kind_as_it_is(tmp_path, kind, settings, equation):
    translator = load(save(tmp_path / kind, kind, **settings))
    made = document(translator, trace_sentence(translator, TEXT), text=TEXT)
    found = lesson(made, "logits")
    assert found["equation"] == equation
    assert ("is added to the decoder's state" in found["lines"][0]) == ("[a; s]" not in equation)


def test_lessons_are_readable_in_a_terminal_and_their_answers_come_last(whole):
    text = lesson_text(TEXT, whole["translation"], whole["lessons"])
    assert max(map(len, text.splitlines())) <= 160
    body, _, answers = text.partition("Answers: ")
    assert body.count("?") >= 10
    assert [f"{number}." in answers for number in range(1, 11)] == [True] * 10


@pytest.mark.parametrize(
    ("kind", "settings", "seen"),
    [
        ("seq2seq", {"score": "none", "encoder_size": 16, "decoder_size": 16}, "handed_over"),
        ("bytenet", {"size": 8, "encoder_sets": 1, "decoder_sets": 1}, "influence"),
        ("moe", {"size": 16, "expert_size": 8, "experts": {"number": 3, "used": 2}}, "experts"),
    ],
)
def test_other_families_show_what_they_have(tmp_path, kind, settings, seen):
    translator = load(save(tmp_path / kind, kind, **settings))
    made = document(translator, trace_sentence(translator, TEXT), text=TEXT)
    assert made[seen]
    assert made["lessons"]
    if kind == "moe":
        gates = numbers(made["experts"][0]["gates"])
        assert gates.sum(1) == pytest.approx(np.ones(len(gates)), abs=1e-6)
        assert (gates > 0).sum(1).tolist() == [2] * len(gates)
