"""What an output may not say: special symbols, too short or too long, a repeated n-gram, another beginning."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regard.symbols import BOS, EOS, PAD, UNK


class Constraints:
    """Forbids tokens by setting their log-probability to -inf; the others keep theirs (nothing is renormalised).

    The rules, from the strongest: a sentence begins with its prefix; after `limits` tokens it ends (never before
    its prefix is said); a hypothesis which may say nothing else may end; not before `min_length` tokens;
    no n-gram of `no_repeat_ngram_size` tokens occurs twice.
    """

    def __init__(
        self,
        limits: Int[Tensor, " batch"],
        *,
        min_length: int = 0,
        no_repeat_ngram_size: int = 0,
        forbid_unknown: bool = False,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self._min_length = min_length
        self._ngram_size = no_repeat_ngram_size
        self._never = torch.tensor([PAD, BOS, UNK] if forbid_unknown else [PAD, BOS], device=limits.device)
        self._prefixes = None if prefixes is None else _padded(prefixes, limits)
        self.limits = limits if self._prefixes is None else limits.maximum((self._prefixes != PAD).sum(-1))
        self._first_limit = int(self.limits.min()) if self.limits.numel() else 0

    def __call__(
        self,
        log_probs: Float[Tensor, "sentences beams vocabulary"],
        tokens: Int[Tensor, "sentences beams length"],
        sentences: Int[Tensor, " sentences"],
    ) -> Float[Tensor, "sentences beams vocabulary"]:
        """Forbid in place what may not follow `tokens`; `sentences` says which of the batch are still there."""
        length = tokens.size(-1)
        forced = self._forced(log_probs, length, sentences)
        may_be_stuck = length < self._min_length or self._ngram_size > 0
        end = _lowest_for_nothing(log_probs[..., EOS]) if may_be_stuck or length >= self._first_limit else None
        log_probs.index_fill_(-1, self._never, -torch.inf)
        if length < self._min_length:
            log_probs[..., EOS] = -torch.inf
        if 0 < self._ngram_size <= length:
            self._forbid_repeated(log_probs, tokens)
        if end is not None and may_be_stuck:
            stuck = log_probs.amax(-1).isneginf()
            log_probs[..., EOS] = torch.where(stuck, end, log_probs[..., EOS])
        if end is not None and length >= self._first_limit:
            at_limit = (self.limits[sentences] <= length).unsqueeze(1)
            log_probs.masked_fill_(at_limit.unsqueeze(2), -torch.inf)
            log_probs[..., EOS] = torch.where(at_limit, end, log_probs[..., EOS])
        return log_probs if forced is None else torch.where(forced.isnan(), log_probs, forced)

    def _forced(self, log_probs: Tensor, length: int, sentences: Tensor) -> Tensor | None:
        """-inf for everything but the next token of the prefix; NaN in the rows of sentences without one."""
        if self._prefixes is None or length >= self._prefixes.size(1):
            return None
        following = self._prefixes[sentences, length][:, None, None].expand(-1, log_probs.size(1), 1)
        forced = torch.full_like(log_probs, -torch.inf)
        forced.scatter_(-1, following, log_probs.gather(-1, following))
        return forced.masked_fill(following == PAD, torch.nan)

    def _forbid_repeated(self, log_probs: Tensor, tokens: Tensor) -> None:
        size = self._ngram_size
        windows = tokens.unfold(-1, size, 1)  # (sentences, beams, places, size)
        current = tokens[..., tokens.size(-1) - size + 1 :].unsqueeze(2)
        seen = (windows[..., :-1] == current).all(-1)
        log_probs.scatter_(-1, windows[..., -1].masked_fill(~seen, PAD), -torch.inf)  # PAD is forbidden anyway


def _lowest_for_nothing(log_probs: Tensor) -> Tensor:
    """Whoever must end can, however little the model thinks of it: never -inf."""
    lowest = torch.finfo(log_probs.dtype).min
    return log_probs.nan_to_num(lowest, neginf=lowest)


def _padded(prefixes: Sequence[Sequence[int]], limits: Tensor) -> Tensor:
    if len(prefixes) != limits.numel():
        raise ValueError(f"{len(prefixes)} prefixes for {limits.numel()} sentences")
    if any(token in (PAD, BOS, EOS) for prefix in prefixes for token in prefix):
        raise ValueError("a prefix may not hold PAD, BOS or EOS")
    longest = max(map(len, prefixes), default=0)
    rows = [[*prefix, *[PAD] * (longest - len(prefix))] for prefix in prefixes]
    return torch.tensor(rows, dtype=torch.long, device=limits.device).reshape(len(prefixes), longest)
