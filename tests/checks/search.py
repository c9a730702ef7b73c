"""What a search must keep with any real model."""

import torch

from checks.making import Make, example
from regard.decoding.search import SearchConfig, search
from regard.protocol import Batch
from regard.symbols import BOS, EOS, PAD


def search_scores_are_the_model_s(make: Make) -> None:
    """The score of every hypothesis of a beam search is that of its tokens, read in one teacher-forced pass."""
    model, source = make(), example().source
    config = SearchConfig(beam_size=6, n_best=6, min_length=4, max_length=8)
    for row, hypotheses in enumerate(search(model, source, config)):
        for hypothesis in hypotheses:
            alone = source[row][source[row] != PAD][None]
            batch = Batch(alone, torch.tensor([[BOS, *hypothesis.tokens, EOS]]))
            log_probs = model(batch).logits.log_softmax(-1)
            score = float(log_probs.gather(-1, batch.labels.unsqueeze(-1)).detach().sum())
            assert abs(score - hypothesis.score) < 1e-4, f"{hypothesis.score} instead of {score}"
