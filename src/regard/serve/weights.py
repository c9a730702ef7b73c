"""How many weights of attention an answer takes, known before any is computed: they grow with the square of a text."""

from collections.abc import Sequence

from torch import nn

from regard.attention.attention import Attention
from regard.attention.multi_head import MultiHeadAttention, SelfAttention
from regard.pipelines.translate import Translation
from regard.serve.errors import ApiError

MOST_GIVEN = 1 << 20  # in one answer; one is about 20 bytes of JSON
MOST_LOOKED_AT = 1 << 28  # for one answer, though only the links of words are in it; one is 4 bytes of memory


def refuse_too_many(model: nn.Module, done: Sequence[Translation], *, given: bool) -> None:
    """Whether the translations `done` may all be looked at, and (`given`) the attention of the best be sent.

    Raises:
        ApiError: they are too many, or too long.
    """
    num_given = sum(num_weights(model, each) for each in done) if given else 0
    num_looked_at = sum(num_weights(model, each) for best in done for each in (best, *best.alternatives))
    for number, most in ((num_given, MOST_GIVEN), (num_looked_at, MOST_LOOKED_AT)):
        if number > most:
            raise ApiError(413, f"{number:,} weights of attention at once; send less text, {most:,} weights at most")


def num_weights(model: nn.Module, translation: Translation) -> int:
    """Those of `Translation.attention`: of every site the heads times the queries times the keys."""
    if not translation.ids:  # nothing was said, so there is nothing to look at
        return 0
    source, target = len(translation.source_ids), len(translation.ids) + 1  # `EOS` is counted
    return sum(heads * _pairs(site, source, target) for site, heads in _heads(model).items())


def _heads(model: nn.Module) -> dict[str, int]:
    """How many each site has."""
    sites = {module.site: 1 for module in model.modules() if isinstance(module, Attention)}
    several = [module for module in model.modules() if isinstance(module, SelfAttention | MultiHeadAttention)]
    return sites | {module.attention.site: module.num_heads for module in several}


def _pairs(site: str, source: int, target: int) -> int:
    """Queries times keys."""
    if site.startswith("encoder"):
        return source * source
    return target * (target if site.endswith(".self") else source)
