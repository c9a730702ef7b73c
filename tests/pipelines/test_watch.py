import pytest
import torch

import regard
from regard.errors import UsageError
from regard.pipelines.watch import Watched, hard_links, token_alignment, watch, word_alignment
from regard.protocol import Model, Output
from regard.symbols import BOS, EOS
from tiny_folder import save_tiny, vocabularies

LINES = ["the cat sees the dog", "a small house", "the dogs play in the snow"]


@pytest.fixture(scope="module", params=["transformer", "seq2seq", "convs2s"])
def translator(request, tmp_path_factory):
    return regard.load(save_tiny(tmp_path_factory.mktemp("model") / "tiny", request.param))


def test_every_row_of_what_is_seen_is_a_distribution_without_padding(translator):
    done = translator.translate(LINES)
    for each, watched in zip(done, translator.watch(done), strict=True):
        assert watched.source == each.source_ids
        assert watched.target == [*each.ids, EOS]
        source, target = len(each.source_ids), len(each.ids) + 1
        for site, weights in watched.sites.items():
            rows = source if site.startswith("encoder") else target
            columns = target if site.startswith("decoder") and site.endswith("self") else source
            assert weights.shape[1:] == (rows, columns)
            assert weights.sum(-1).allclose(torch.ones(()), atol=1e-5)


def test_neighbours_change_nothing_of_what_is_seen(translator):
    done = translator.translate(LINES)
    for each, together in zip(done, translator.watch(done), strict=True):
        alone = each.attention
        assert alone.sites.keys() == together.sites.keys()
        for site, weights in alone.sites.items():
            assert weights.allclose(together.sites[site], atol=1e-6)


def test_what_is_seen_is_what_the_search_used(translator):
    """Step by step, as the search does it, the same weights appear."""
    from regard.attention.record import AttentionRecord

    (each,) = translator.translate(LINES[0])
    model = translator.loaded[0].model
    record = AttentionRecord()
    with torch.inference_mode():
        state = model.encode(torch.tensor([each.source_ids]))
        for token in [BOS, *each.ids]:
            _, state = model.step(state, torch.tensor([token]), record)
    for site in each.attention.cross_sites:
        steps = torch.cat([call.weights for call in record.calls(site)], 2)[0]
        assert steps.allclose(each.attention.sites[site], atol=1e-5)


def test_alignment_reads_the_last_but_one_attention_unless_told_otherwise():
    def weights(column: int) -> torch.Tensor:
        return torch.eye(4)[[column] * 3].expand(2, -1, -1)

    sites = {"encoder.0.self": weights(0), **{f"decoder.{n}.cross": weights(n) for n in range(3)}}
    watched = Watched([9, 9, 9, EOS], [9, 9, EOS], sites)
    assert token_alignment(watched).argmax(-1).tolist() == [1, 1, 1]
    assert token_alignment(watched, site="decoder.2.cross").argmax(-1).tolist() == [2, 2, 2]
    one = Watched(watched.source, watched.target, {"decoder.cross": weights(3)})
    assert token_alignment(one).argmax(-1).tolist() == [3, 3, 3]


def test_heads_are_averaged_and_can_be_chosen():
    sites = {"decoder.cross": torch.stack([torch.eye(3), torch.eye(3).flip(0), torch.eye(3)])}
    watched = Watched([4, 4, EOS], [4, 4, EOS], sites)
    assert token_alignment(watched)[0].tolist() == pytest.approx([2 / 3, 0, 1 / 3])
    assert token_alignment(watched, heads=[1])[0].tolist() == [0, 0, 1]
    with pytest.raises(UsageError, match="heads 0 to 2"):
        token_alignment(watched, heads=[3])
    with pytest.raises(UsageError, match=r"no attention 'decoder\.9\.cross'; there are decoder\.cross"):
        token_alignment(watched, site="decoder.9.cross")


def test_words_sum_over_source_pieces_and_average_over_target_pieces():
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.2, 0.2], [0.0, 0.0, 1.0, 0.0], [0.9, 0.1, 0.0, 0.0]])
    words = word_alignment(weights, [0, 0, 1], [0, 0, 1])  # the last column and row are EOS
    assert torch.allclose(words, torch.tensor([[0.45, 0.25], [0.0, 1.0]]))
    assert hard_links(words) == [(0, 0), (1, 1)]
    assert hard_links(word_alignment(weights, [], [])) == []
    assert hard_links(word_alignment(weights[:, 3:], [], [0, 1, 2])) == []


def test_links_are_of_words_and_stay_within_the_sentence(translator):
    for each in translator.translate(LINES, min_length=3):
        num_source, num_target = len(each.source.split()), max(translator.vocabularies.target.words(each.ids)) + 1
        assert [target for _, target in sorted(each.alignment, key=lambda link: link[1])] == list(range(num_target))
        assert all(0 <= source < num_source for source, _ in each.alignment)
        assert each.alignment == sorted(each.alignment)


def test_a_model_that_only_copies_position_by_position_aligns_on_the_diagonal():
    class Diagonal(Model):
        """Looks at source token t for target token t."""

        def __init__(self):
            super().__init__()
            self.anchor = torch.nn.Parameter(torch.zeros(1))

        def forward(self, batch, record=None):
            weights = torch.eye(batch.labels.size(1), batch.source.size(1)).expand(batch.source.size(0), 1, -1, -1)
            record.add("decoder.cross", weights, weights, weights)
            return Output(batch.labels.unsqueeze(-1).float(), torch.nn.Linear(1, 1))

    tokenizer = vocabularies().source
    ids = tokenizer.encode("the snow sees the small dogs")
    (watched,) = watch(Diagonal(), [([*ids, EOS], ids)])
    words = tokenizer.words(ids)
    assert len(ids) > len(set(words))  # some word has several pieces
    links = hard_links(word_alignment(token_alignment(watched), words, words))
    assert links == [(number, number) for number in range(6)]


def test_without_attention_there_is_nothing_to_align(tmp_path):
    translator = regard.load(save_tiny(tmp_path / "plain", score="none"))
    (each,) = translator.translate("the cat")
    assert each.attention.sites == {}
    with pytest.raises(UsageError, match="does not attend to the source"):
        each.alignment  # noqa: B018


def test_nothing_to_watch(translator):
    assert translator.watch([]) == []
    (empty,) = translator.translate("")
    assert empty.alignment == []
