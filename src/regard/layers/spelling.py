"""From the bytes of a sentence to its words, letter by letter, with marks at the ends of words and of the sentence."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from regard.symbols import BOS, EOS, FIRST_BYTE, NUM_BYTES, PAD, SPACE

# Two more symbols than the vocabulary of bytes has: the marks at both ends of every word.
BEGIN_WORD, END_WORD = FIRST_BYTE + NUM_BYTES, FIRST_BYTE + NUM_BYTES + 1
NUM_SYMBOLS = END_WORD + 1  # 262, the number of the ELMo paper's


class Spelled(NamedTuple):
    """`letters[b, 0]` is the begin of sentence b, `letters[b, k]` its k-th word; behind the last word stands its end.

    A word is `BEGIN_WORD`, its bytes, `END_WORD`; the two ends of a sentence are words of one symbol, `BOS` and `EOS`.
    Everything else is `PAD`.
    """

    letters: Int[Tensor, "batch places letters"]
    num_words: Int[Tensor, " batch"]


def spell(source: Int[Tensor, "batch length"], *, longest: int) -> Spelled:
    """Cut sources (ids of a vocabulary of bytes, single-spaced) at their spaces.

    A word has at most `longest` letters, its two marks among them; what is longer loses its end.
    """
    batch, length = source.shape
    is_space, is_byte = source == SPACE, source >= FIRST_BYTE
    is_letter = is_byte & ~is_space
    word = 1 + is_space.cumsum(1)
    num_words = torch.where(is_byte.any(1), 1 + is_space.sum(1), 0)
    place = torch.arange(length, device=source.device).expand(batch, -1)
    first = torch.where(is_space, place + 1, 0).cummax(1).values
    column = 1 + place - first  # column 0 is for the mark
    places = int(num_words.max()) + 2 if batch else 2
    num_letters = source.new_zeros(batch, places).scatter_add_(1, word.clamp(max=places - 1), is_letter.long())
    ends = num_letters.clamp(max=longest - 2) + 1
    rows = torch.arange(batch, device=source.device)
    num_letters[rows, 0], num_letters[rows, num_words + 1] = 1, 1
    ends[rows, 0], ends[rows, num_words + 1] = 2, 2
    letters = source.new_full((batch, places, max(3, int(ends.max()) + 1 if batch else 3)), PAD)
    letters[..., 0] = torch.where(num_letters > 0, BEGIN_WORD, PAD)
    letters.scatter_(2, ends.unsqueeze(2), torch.where(num_letters > 0, END_WORD, PAD).unsqueeze(2))
    row, kept = (is_letter & (column <= longest - 2)).nonzero(as_tuple=True)
    letters[row, word[row, kept], column[row, kept]] = source[row, kept]
    letters[rows, 0, 1], letters[rows, num_words + 1, 1] = BOS, EOS
    return Spelled(letters, num_words)


def hash_words(letters: Int[Tensor, "*places letters"], *, buckets: int) -> Int[Tensor, "*places"]:
    """A number below `buckets` for every word, the same for the same letters wherever it stands; 0 for padding only.

    Hashing (FNV-1a, letter by letter) takes the place of a list of words: nothing is unknown, and few words meet.
    """
    hashed = torch.full(letters.shape[:-1], 0x811C9DC5, dtype=torch.long, device=letters.device)
    for letter in letters.unbind(-1):
        hashed = torch.where(letter == PAD, hashed, ((hashed ^ letter) * 0x01000193) & 0xFFFFFFFF)
    return torch.where(letters[..., 0] == PAD, 0, 1 + (hashed ^ (hashed >> 16)) % (buckets - 1))
