"""A conversation: streamed replies are those of the search, and what was said is read again."""

import io
import json

import pytest

from regard.checkpoint.card import Card
from regard.checkpoint.model_folder import save_model
from regard.cli.main import run
from regard.data.corpus_conversation import TURN
from regard.errors import UsageError
from regard.pipelines.chat import Chat
from regard.pipelines.translate import load
from tiny_folder import TEXTS, save_tiny


@pytest.fixture(scope="module", params=["seq2seq", "transformer"])
def folder(tmp_path_factory, request):
    return save_tiny(tmp_path_factory.mktemp(request.param) / "model", request.param)


@pytest.mark.parametrize("search", [{"beam_size": 1}, {"sampling": True, "seed": 4, "temperature": 1.5, "top_k": 9}])
def test_a_stream_is_the_search_piece_by_piece(folder, search):
    translator = load(folder)
    whole = translator.translate(TEXTS[:6], **search)
    for row, translation in enumerate(whole):
        pieces = list(translator.stream(TEXTS[row], row=row, **search))
        assert "".join(pieces) == translation.text
        assert len(pieces) > 2 or len(translation.ids) < 3


def test_characters_of_several_tokens_are_said_when_they_are_whole(tmp_path):
    """A vocabulary of bytes: half an umlaut is nothing that could be shown."""
    translator = load(save_tiny(tmp_path / "model", seed=3))
    target = translator.vocabularies.target

    class Halves(type(target)):
        def __init__(self):
            pass

        def decode(self, ids):
            return b"\xc3\xa4b\xe2\x82\xac"[: len(list(ids))].decode(errors="replace")

    class Engine:
        def stream(self, request, config):
            yield from range(6)

    translator.vocabularies = translator.vocabularies._replace(target=Halves())
    translator.engine = Engine()
    assert [piece for piece in translator.stream("the cat") if piece] == ["ä", "b", "€"]


def test_what_was_said_is_read_again_as_far_as_the_history_goes(folder):
    translator = load(folder)
    chat = Chat(translator, history=2, beam_size=1)
    first = "".join(chat.reply("the cat"))
    assert first == translator.translate("the cat", beam_size=1)[0].text
    assert chat.turns == ("the cat", first)
    second = "".join(chat.reply("a dog"))
    assert second == translator.translate(f"{first}{TURN}a dog", beam_size=1)[0].text
    chat.reset()
    assert chat.turns == ()
    assert "".join(chat.reply("a dog")) == translator.translate("a dog", beam_size=1)[0].text


def test_the_oldest_turns_go_when_there_are_too_many_words(folder):
    translator = load(folder)
    chat = Chat(translator, history=4, beam_size=1)
    "".join(chat.reply("the cat sees the dog"))
    translator.longest = 8
    reply = "".join(chat.reply("a dog"))
    assert reply == translator.translate("a dog", beam_size=1)[0].text
    with pytest.raises(UsageError, match="pieces, but the model reads 8 at most"):
        list(chat.reply("a small house stands there " * 3))


def test_of_a_long_history_little_is_read_to_find_what_fits(folder, monkeypatch):
    translator, read = load(folder), []

    def can_read(text):
        read.append(text)
        return len(text.split(TURN)) <= 23

    monkeypatch.setattr(translator, "can_read", can_read)
    said = [f"cat {number}" for number in range(200)]
    chat = Chat(translator, history=1000, said=said)
    assert chat.read("a dog") == TURN.join([*said[-22:], "a dog"])
    assert len(read) <= 8  # halving 200
    monkeypatch.setattr(translator, "can_read", lambda text: False)
    assert chat.read("a dog") == "a dog"


def test_a_wrong_setting_is_told_before_anything_is_said(folder):
    with pytest.raises(UsageError, match="temperature"):
        Chat(load(folder), temperature=0.5)


def test_the_command_answers_line_by_line(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat\n\n/reset\nthe cat\n/nonsense\n/quit\nnever read\n"))
    assert run(["chat", "-m", str(folder), "--temperature", "0", "--json"]) == 0
    out, told = capsys.readouterr()
    replies = [json.loads(line) for line in out.splitlines()]
    assert [reply["text"] for reply in replies] == ["the cat", "the cat"]
    assert replies[0] == replies[1]
    assert "/nonsense is no command" in told


def test_draws_are_the_same_again_in_the_same_conversation(folder, monkeypatch, capsys):
    heard = []
    for _ in range(2):
        monkeypatch.setattr("sys.stdin", io.StringIO("the cat\nthe cat\n"))
        assert run(["chat", "-m", str(folder), "--temperature", "2"]) == 0
        heard.append(capsys.readouterr().out)
    assert heard[0] == heard[1]
    first, second = heard[0].splitlines()
    assert first != second


def test_the_model_reads_as_many_turns_as_it_learnt_with(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr("regard.cli.chat._answer", lambda chat, line, **_: read.append(chat._turns.maxlen))
    translator = load(save_tiny(tmp_path / "tiny"))
    loaded = translator.loaded[0]
    save_model(
        tmp_path / "three",
        loaded.model,
        config=loaded.config,
        vocabularies=loaded.vocabularies,
        search=loaded.search,
        card=Card(history=3),
    )
    for options in ([], ["--history", "2"]):
        monkeypatch.setattr("sys.stdin", io.StringIO("the cat\n"))
        assert run(["chat", "-m", str(tmp_path / "three"), *options]) == 0
    assert read == [3, 2]


def test_too_long_a_line_at_a_terminal_does_not_end_the_conversation(folder, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    lines = iter(["dog " * 1200, "the cat", "/quit"])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    assert run(["chat", "-m", str(folder), "--temperature", "0", "--json"]) == 0
    out, told = capsys.readouterr()
    assert "regard: the text has 1201 pieces" in told
    assert json.loads(out)["text"] == "the cat"


@pytest.mark.parametrize("option", ["--top-k", "--top-p", "--seed"])
def test_settings_of_draws_mean_nothing_without_draws(folder, capsys, option):
    assert run(["chat", "-m", str(folder), "--temperature", "0", option, "1"]) == 2
    assert "with --temperature 0 nothing is drawn" in capsys.readouterr().err
