"""Text becomes ids and comes back; no text becomes a control token; no damaged file goes unnoticed or crashes."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from regard.data.sentencepiece_tokenizer import SentencePieceTokenizer
from regard.data.simple_tokenizers import ListTokenizer, read_list
from regard.data.tokenizer import Tokenizer, TokenizerConfig, learn, load
from regard.errors import DataError, ModelError, UsageError
from regard.symbols import BOS, EOS, PAD, UNK

KINDS = ("unigram", "bpe", "characters", "words", "symbols", "bytes")
SUBWORDS = ("unigram", "bpe")
SYLLABLES = (
    "der",
    "Hun",
    "d",
    "Kat",
    "ze",
    "läu",
    "ft",
    "schlä",
    "auf",
    "un",
    "ter",
    "Ti",
    "sch",
    "Stra",
    "ße",
    "rot",
    "Ball",
)
WORDS = ["der", "Hund", "läuft", *(a + b for a in SYLLABLES for b in SYLLABLES)]


def sentences(number: int = 300) -> Iterator[str]:
    generator = random.Random(1)
    for _ in range(number):
        yield " ".join(generator.choices(WORDS, k=generator.randint(3, 9))) + "."


def learnt(kind: str, **settings: object) -> Tokenizer:
    size = {"size": 80} if kind in SUBWORDS else {}
    return learn(TokenizerConfig.model_validate({"kind": kind, **size, **settings}), sentences())


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return learnt(request.param)


def test_decoding_gives_the_text_back(tokenizer: Tokenizer) -> None:
    for text in [*sentences(20), "  der   Hund läuft ", "", " "]:
        known = text if UNK not in tokenizer.encode(text) else "der Hund läuft"
        assert tokenizer.decode(tokenizer.encode(known)) == " ".join(known.split())


def test_subwords_normalise_compatibility_characters_unless_told_not_to() -> None:
    texts = [*sentences(), "ﬁnal x² final"]
    config = TokenizerConfig(kind="bpe", size=80, normalization="none")
    assert (learnt("bpe").encode("ﬁ")) == learnt("bpe").encode("fi")
    plain = learn(config, texts)
    assert plain.decode(plain.encode("ﬁnal x²")) == "ﬁnal x²"


@pytest.mark.parametrize("kind", KINDS)
def test_learning_is_a_pure_function(kind: str) -> None:
    assert learnt(kind).to_bytes() == learnt(kind).to_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "texts", [list(sentences()), ["<unk> <s> </s> <pad> ▁ @@ a</s>b <s>"] * 50 + list(sentences())]
)
def test_no_text_becomes_a_control_token(kind: str, texts: list[str]) -> None:
    tokenizer = learn(TokenizerConfig(kind=kind, size=80) if kind in SUBWORDS else TokenizerConfig(kind=kind), texts)
    for text in (
        "<unk>",
        "<s>",
        "</s>",
        "<pad>",
        "a </s> b",
        "▁",
        "@@",
        "<s>der Hund</s>",
        "▁</s>",
        "\x00",
        '{"a": "\\t"}',
    ):
        assert not {PAD, BOS, EOS} & set(tokenizer.encode(text)), text


def test_any_text_is_cut_into_valid_ids(tokenizer: Tokenizer) -> None:
    generator = random.Random(3)
    planes = (range(0x20, 0x7F), range(0x300), range(0xD800), range(0xE000, 0x110000))
    for _ in range(200):
        text = "".join(chr(generator.choice(generator.choice(planes))) for _ in range(generator.randrange(20)))
        ids = tokenizer.encode(text)
        assert all(3 < identity < tokenizer.size or identity == UNK for identity in ids), text
        assert len(tokenizer.pieces(ids)) == len(tokenizer.words(ids)) == len(ids)
        tokenizer.decode(ids)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bytes"])
def test_unknown_characters_become_unk_and_read_so(kind: str) -> None:
    tokenizer = learnt(kind)
    ids = tokenizer.encode("Hund ☃")
    assert UNK in ids
    assert "<unk>" in tokenizer.decode(ids)
    assert tokenizer.pieces(ids)[-1] == "<unk>"


def test_byte_fallback_leaves_nothing_unknown() -> None:
    tokenizer = learnt("bpe", size=330, byte_fallback=True)
    assert UNK not in tokenizer.encode("Hund ☃")
    assert tokenizer.decode(tokenizer.encode("Hund ☃")) == "Hund ☃"


def test_bytes_know_every_text_and_where_its_words_are() -> None:
    tokenizer = learnt("bytes")
    assert tokenizer.size == 260
    ids = tokenizer.encode("  Hund   ☃ ")
    assert ids[:5] == [4 + byte for byte in b"Hund "]
    assert tokenizer.decode(ids) == "Hund ☃"
    assert tokenizer.words([*ids, EOS]) == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert tokenizer.words(tokenizer.encode("Hund")) == [0, 0, 0, 0]
    assert tokenizer.pieces(ids)[3:] == ["d", "▁", "<0xE2>", "<0x98>", "<0x83>"]
    assert tokenizer.decode(ids[:-1]) == "Hund \N{REPLACEMENT CHARACTER}"
    with pytest.raises(ValueError, match="one segmentation only"):
        tokenizer.sample("Hund", 1, rate=0.1)


def test_an_output_is_one_line_whatever_bytes_the_model_says() -> None:
    for tokenizer in (learnt("bytes"), learnt("bpe", size=330, byte_fallback=True)):
        breaks = [
            next(i for i in range(tokenizer.size) if tokenizer.pieces([i]) == [name]) for name in ("<0x0A>", "<0x0D>")
        ]
        assert tokenizer.decode(breaks) == "  "


def test_a_damaged_file_of_bytes_is_refused(tmp_path: Path) -> None:
    path = learnt("bytes").save(tmp_path, "source")
    path.write_text(path.read_text().replace("1", "2"))
    with pytest.raises(ModelError, match="not a tokenizer of bytes of this version"):
        load(tmp_path, "source")


def test_special_ids_are_not_read_out(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("der Hund")
    assert tokenizer.decode([BOS, *ids, EOS, PAD, PAD]) == tokenizer.decode(ids)


@pytest.mark.parametrize("kind", SUBWORDS)
def test_pieces_of_one_word_have_one_index(kind: str) -> None:
    tokenizer = learnt(kind, size=50)
    for text in sentences(20):
        ids = [*tokenizer.encode(text), EOS]
        words = tokenizer.words(ids)
        together = [
            "".join(tokenizer.pieces([i for i, w in zip(ids, words, strict=True) if w == word]))
            for word in range(words[-1] + 1)
        ]
        assert together == [*("▁" + word for word in text.split()), "</s>"]


def test_characters_are_grouped_at_spaces_and_alone_where_there_is_none() -> None:
    tokenizer = learn(TokenizerConfig(kind="characters"), ["ab c"])
    assert tokenizer.words([*tokenizer.encode("ab c"), EOS]) == [0, 0, 1, 1, 2]
    assert tokenizer.words([*tokenizer.encode("abc"), EOS]) == [0, 1, 2, 3]
    assert tokenizer.pieces(tokenizer.encode("b c")) == ["b", "▁", "c"]


def test_rare_words_and_capitals_go_as_asked() -> None:
    config = TokenizerConfig(kind="words", min_frequency=2, lowercase=True)
    tokenizer = learn(config, ["Der Hund der Hund selten"])
    assert tokenizer.size == 4 + 2
    assert tokenizer.encode("DER hund selten") == [4, 5, UNK]


@pytest.mark.parametrize("kind", SUBWORDS)
def test_a_seed_draws_the_same_segmentation_always_and_everywhere(kind: str) -> None:
    tokenizer = learnt(kind)
    rate = 0.3 if kind == "bpe" else 0.01  # of unigram the exponent: the smaller, the more even
    text = "läuder Katschlä Ballläu Straauf Hunter Tirot läuft unStra"
    drawn = [tokenizer.sample(text, seed, rate=rate) for seed in range(30)]
    assert len(set(map(tuple, drawn))) > 10
    assert all(tokenizer.decode(ids) == text for ids in drawn)
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda seed: tokenizer.sample(text, seed, rate=rate), reversed(range(30))))
    assert again[::-1] == drawn


def test_what_has_one_segmentation_is_not_sampled() -> None:
    with pytest.raises(ValueError, match="one segmentation only"):
        learnt("words").sample("der Hund", 1, rate=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_is_the_same_after_loading(kind: str, tmp_path: Path) -> None:
    tokenizer = learnt(kind)
    tokenizer.save(tmp_path, "source")
    loaded = load(tmp_path, "source")
    assert loaded == tokenizer
    assert loaded.fingerprint == tokenizer.fingerprint
    assert [loaded.encode(text) for text in sentences(20)] == [tokenizer.encode(text) for text in sentences(20)]
    suffix = ".model" if kind in SUBWORDS else ".bytes.json" if kind == "bytes" else ".json"
    assert [path.name for path in tmp_path.iterdir()] == [f"source{suffix}"]


def test_two_symbols_exchanged_are_another_fingerprint() -> None:
    assert ListTokenizer("words", ["a", "b"]).fingerprint != ListTokenizer("words", ["b", "a"]).fingerprint


@pytest.mark.parametrize("kind", SUBWORDS)
def test_too_large_a_size_is_refused_with_the_largest_possible(kind: str) -> None:
    with pytest.raises(UsageError, match=r"the largest possible size here is (\d+)") as error:
        learn(TokenizerConfig(kind=kind, size=8000), sentences(10))
    largest = int(str(error.value).split("size here is ")[1].split()[0])
    assert learn(TokenizerConfig(kind=kind, size=largest), sentences(10)).size == largest


@pytest.mark.parametrize("kind", SUBWORDS)
def test_too_small_a_size_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="size 10 is less than"):
        learn(TokenizerConfig(kind=kind, size=10), sentences(10))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bytes"])
@pytest.mark.parametrize("texts", [[], ["", "  "]])
def test_nothing_to_learn_from_is_said(kind: str, texts: list[str]) -> None:
    with pytest.raises(DataError, match=r"data\.train"):
        learn(TokenizerConfig(kind=kind), texts)


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "words", "sampling": 0.1},
        {"kind": "characters", "size": 50},
        {"kind": "symbols", "lowercase": True},
        {"kind": "unigram", "min_frequency": 2},
    ],
)
def test_a_setting_without_effect_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="has no effect"):
        TokenizerConfig.model_validate(given)


@pytest.mark.parametrize("kind", SUBWORDS)
def test_subwords_without_case_read_all_cases_alike(kind: str) -> None:
    folded, cased = learnt(kind, lowercase=True), learnt(kind)
    again = SentencePieceTokenizer(folded.to_bytes())
    for tokenizer in (folded, again):
        assert tokenizer.encode("DER HUND Läuft") == tokenizer.encode("der Hund läuft")
        assert tokenizer.decode(tokenizer.encode("DER HUND Läuft")) == "der hund läuft"
    assert cased.encode("der Hund") != cased.encode("der hund")
    with pytest.raises(ValueError, match="`lowercase` is a part of normalization nfkc"):
        TokenizerConfig.model_validate({"kind": kind, "lowercase": True, "normalization": "none"})


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer source\.model or source\.json"):
        load(tmp_path, "source")


@pytest.mark.parametrize("kind", ["unigram", "bpe", "characters", "words"])
def test_damaged_files_are_refused_by_name_or_harmless(kind: str, tmp_path: Path) -> None:
    path = learnt(kind).save(tmp_path, "tokenizer")
    whole = path.read_bytes()
    generator = random.Random(2)
    damaged = [whole[: len(whole) * part // 10] for part in range(10)] + [b"garbage", b"\x80\x04\x95" + whole, b"null"]
    for _ in range(60):
        place = generator.randrange(len(whole))
        damaged.append(whole[:place] + bytes([whole[place] ^ 1 << generator.randrange(8)]) + whole[place + 1 :])
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            tokenizer = load(tmp_path, "tokenizer")
        except ModelError as error:
            refused += str(path) in str(error)
        else:
            ids = tokenizer.encode("der Hund läuft </s> ☃")
            assert not {PAD, BOS, EOS} & set(ids)
            tokenizer.pieces(ids)
    assert refused > 20


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"kind": "pickle"}, "kind must be"),
        ({"format": 2}, "this version reads 1"),
        ({"symbols": "abc"}, "list of strings"),
        ({"symbols": ["a", 1]}, "list of strings"),
        ({"symbols": ["a", "b", "a"]}, "stands twice"),
        ({"symbols": ["a", "b\r"]}, "no text can contain"),
        ({"symbols": ["a", ""]}, "no text can contain"),
        ({"symbols": ["a\t12"]}, "no text can contain"),
        ({"symbols": ["\ud800"]}, "no text can contain"),
        ({"lowercase": 1}, "true or false"),
        ({"more": 1}, "object of format"),
    ],
)
def test_faults_of_a_list_are_named(change: dict[str, object], fault: str) -> None:
    table = {"format": 1, "kind": "words", "lowercase": False, "symbols": ["a"], **change}
    with pytest.raises(ModelError, match=fault):
        read_list(json.dumps(table).encode(), origin="tokenizer.json")


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(ModelError, match="not JSON"):
        read_list(b"[" * 200_000, origin="tokenizer.json")


def test_a_model_of_others_with_other_special_ids_is_refused(tmp_path: Path) -> None:
    import io

    import sentencepiece

    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(), model_writer=writer, vocab_size=80, minloglevel=2
    )
    with pytest.raises(ModelError, match="special ids"):
        SentencePieceTokenizer(writer.getvalue())
