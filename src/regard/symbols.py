"""The four special symbols, with the same ids in every vocabulary, so that no model or search must be told them."""

PAD = 0
UNK = 1
BOS = 2
EOS = 3

NAMES = ("<pad>", "<unk>", "<s>", "</s>")

# In a vocabulary of bytes they come first, and a space has a known id, too.
FIRST_BYTE, NUM_BYTES, SPACE = len(NAMES), 256, len(NAMES) + ord(" ")
